"""The latest candles of every series: what the indicators of one more minute rest on, without reading it again.

The look-back of twenty symbols is some 150,000 candles, and a minute changes 120 of them. To find and to decode the
others was a quarter of what a minute cost Spark. What is known of a table up to a mark, and what changed in it since,
is what it holds now; so candles that were read once are kept, with the mark, and the changes put in.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from crypto_pipeline.indicators._series import SERIES, VALUES

SPARE = 120
"""Candles that are kept of a series beyond its look-back: what comes as late as that is at hand too."""
_ROW = {
    "of": "int64",
    "interval_start": "datetime64[ns]",
    "first_trade_id": "float64",
    "last_trade_id": "float64",
    "is_closed": "bool",
    **dict.fromkeys(VALUES, "float64"),
    "is_quiet": "bool",
}
CANDLE = tuple(name for name in _ROW if name != "of")
"""What is kept of a candle, or of a quiet interval (`is_quiet`)."""
_SERIES, _FORMAT = b"series", b"format"
_VERSION = f"1 {json.dumps(_ROW)}".encode()
"""What is kept by code in which a row means something else is not used. Its number counts that."""


@dataclass(frozen=True)
class RecentCandles:
    """From some candle of each series on, all up to the latest; and the quiet intervals."""

    series: pd.DataFrame
    """SERIES, and whether the first row is the series' first of all (`is_whole`)."""
    rows: pd.DataFrame
    """CANDLE, and the place of its series (`of`), ordered by both."""

    @classmethod
    def nothing(cls) -> "RecentCandles":
        return cls(
            pd.DataFrame({**dict.fromkeys(SERIES, pd.Series(dtype=object)), "is_whole": pd.Series(dtype=bool)}),
            pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _ROW.items()}),
        )

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "RecentCandles":
        """What `to_arrow` gave; nothing where other code gave it."""
        metadata = table.schema.metadata or {}
        if metadata.get(_FORMAT) != _VERSION:
            return cls.nothing()
        series = pd.DataFrame(json.loads(metadata[_SERIES]), columns=[*SERIES, "is_whole"])
        return cls(series.astype({"is_whole": bool}), table.to_pandas())

    def to_arrow(self) -> pa.Table:
        """A column each of the rows, and the series in the schema's metadata."""
        rows = pa.Table.from_pandas(self.rows, preserve_index=False)
        series = json.dumps(self.series.to_numpy().tolist())
        return rows.replace_schema_metadata({_SERIES: series, _FORMAT: _VERSION})

    def numbers(self, named: pd.DataFrame) -> pd.Series:
        """The place among the series of those that these rows name; null where nothing is kept of it."""
        numbered = self.series[list(SERIES)].assign(of=np.arange(len(self.series)))
        return named[list(SERIES)].merge(numbered, how="left", on=list(SERIES)).set_axis(named.index)["of"]

    def with_changes(self, changed: pd.DataFrame) -> "RecentCandles":
        """With the rows (SERIES and CANDLE) of the series that are here put in, the changed ones in place of the old.

        What lies before the first row of one that is not whole is left out: what is between the two is not known.
        """
        firsts = self.rows.groupby("of")["interval_start"].min()
        mine = changed.assign(of=self.numbers(changed)).dropna(subset="of")
        place = mine["of"].astype("int64")
        is_after = mine["interval_start"] >= place.map(firsts)
        mine = mine[is_after | place.map(self.series["is_whole"]).astype(bool)]
        return RecentCandles(self.series, _ordered(pd.concat([self.rows, typed(mine)], ignore_index=True)))

    def with_series(self, named: pd.DataFrame, rows: pd.DataFrame) -> "RecentCandles":
        """With these series (SERIES, `is_whole`), and their rows (CANDLE, `of` by the index), in place of what was."""
        others = self.without(named)
        series = pd.concat([others.series, named[[*SERIES, "is_whole"]]], ignore_index=True)
        numbers = pd.Series(np.arange(len(others.series), len(series)), index=named.index)
        added = typed(rows.assign(of=rows["of"].map(numbers)))
        return RecentCandles(series, pd.concat([others.rows, added], ignore_index=True))._compact()

    def without(self, named: pd.DataFrame) -> "RecentCandles":
        """Without these series."""
        return RecentCandles(self.series, self.rows[~self.rows["of"].isin(self.numbers(named).dropna())])._compact()

    def trimmed(self, counts: pd.Series) -> "RecentCandles":
        """The latest so many rows of each series, and no series of none."""
        after = self.rows.groupby("of").cumcount(ascending=False)
        is_kept = after < self.rows["of"].map(counts)
        cut = self.rows.loc[~is_kept, "of"].unique()
        series = self.series.assign(is_whole=self.series["is_whole"] & ~self.series.index.isin(cut))
        return RecentCandles(series, self.rows[is_kept])._compact()

    def _compact(self) -> "RecentCandles":
        """Without the series that have no row."""
        used = np.unique(self.rows["of"].to_numpy())
        rows = self.rows.assign(of=np.searchsorted(used, self.rows["of"].to_numpy()))
        return RecentCandles(self.series.iloc[used].reset_index(drop=True), _ordered(rows))


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that are kept, with their types. A quiet interval has none of a candle's values."""
    named = rows.reindex(columns=[name for name in _ROW if name in rows or name != "of"])
    filled = named.assign(is_closed=named["is_closed"].eq(True), is_quiet=named["is_quiet"].eq(True))
    return filled.astype({name: kind for name, kind in _ROW.items() if name in filled})


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """By series and time, a quiet interval before the candle that took its place; of what is one row the last."""
    key = [~rows["is_quiet"].to_numpy(), rows["interval_start"].to_numpy(), rows["of"].to_numpy()]
    order = np.lexsort(key)
    is_last = np.ones(len(rows), dtype=bool)
    if len(rows) > 1:
        is_last[:-1] = np.any([one[order][1:] != one[order][:-1] for one in key], axis=0)
    kept: pd.DataFrame = rows.iloc[order[is_last]].reset_index(drop=True)
    return kept
