"""An exchange in a box: a made market, or a recording, spoken in Binance spot's protocol over WebSocket and REST.

The market is a pure function of the seed, the symbol and the time (`market`), so a restart loses nothing of it.
`hub` is the one place through which every message leaves.
"""


class SimulatorError(Exception):
    """The simulator cannot start as asked; the message says why and what to do."""
