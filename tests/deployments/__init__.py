"""Tests that deploy systems of their own, while no other runs: two at once are too much for a small machine."""
