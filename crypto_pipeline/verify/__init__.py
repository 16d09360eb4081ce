"""Whether the lake keeps its promises: what `crypto verify` looks at, and how.

`promises.py` has the promises, each with the queries that look for what breaks it. `candles.py` makes the candles again
from bronze in SQL of its own, so that a fault of the Spark code shows; `rebuilt.py` makes the other tables of silver
again by their own code, so that rows show which it no longer makes. `verdict.py` goes through a range day by day.

Silver follows bronze by a pass. So everything is judged as of what silver has followed: a minute that bronze got
something for since is moving, is counted as such, and is not judged.
"""
