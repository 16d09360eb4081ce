"""Silver: what follows from bronze: candles, indicators."""
