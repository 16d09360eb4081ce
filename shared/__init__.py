"""The vocabulary of both sides: settings, symbols, events and table contracts. Imports neither side."""
