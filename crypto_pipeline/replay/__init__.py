"""A stored range, played as Binance's own WebSocket and REST, so that a bot is tested by changing one address.

`stored` says what there is of a range and reads it in the order in which it was received: the frames of the raw archive
as they came, and where it has none, messages that `messages` makes of bronze's rows. `player` sends them by its clock
over `streaming.simulator`'s WebSocket. `rest` answers as Binance would have at that clock, of what `market` has read.
"""
