"""Which tables a run writes, and how far each of them is."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline import ingest as module
from crypto_pipeline.bronze import gaps, trades
from crypto_pipeline.ingest import (
    NOTED_AT,
    QUIET,
    Ingested,
    Place,
    _Run,
    expired,
    is_left_behind,
    places,
    sources,
    to_write,
)
from crypto_pipeline.kafka_source import ExpiredOffsetsError, Lost, Offsets, furthest
from shared.tables import OFFSETS, TOPIC_IDS, Notes, Table

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FRESH, OLD = "20261121115900000", "20261121105900000"
TOPIC = "crypto_raw_btcusdt"
FOUR_MB, SIXTY_FOUR_MB = 4_000_000, 64 << 20
TOPICS = {"bronze.trades": {TOPIC}, "bronze.gaps": {TOPIC}}
STREAMS = {"bronze.trades": "trade", "bronze.gaps": "gap"}


def at(offset: int) -> Offsets:
    """A place in the one topic."""
    return {TOPIC: {"0": offset}}


class Notebook:
    """Stands for the lakehouse where only its notes are asked for."""

    def __init__(self, notes: Mapping[str, Notes]) -> None:
        self._notes = notes

    def notes(self, table: Table, _name: str) -> Notes | None:
        return self._notes.get(table.full_name)


def place_of_gaps(notes: Mapping[str, Notes]) -> Offsets:
    lake: Any = Notebook(notes)
    return places(lake, [trades, gaps])["bronze.gaps"].offsets


def noted(commit: str, offset: int, quiet: Mapping[str, str] | None = None) -> Notes:
    return Notes(commit, {OFFSETS: json.dumps(at(offset)), QUIET: json.dumps(quiet or {})})


def test_a_table_without_rows_moves_on_with_the_commit_of_one_that_has_some() -> None:
    notes = {"bronze.trades": noted("c9", 90, {"bronze.gaps": "c5"}), "bronze.gaps": noted("c5", 50)}
    assert place_of_gaps(notes) == at(90)


def test_what_was_said_of_a_commit_that_is_not_the_latest_any_more_counts_for_nothing() -> None:
    notes = {"bronze.trades": noted("c9", 90, {"bronze.gaps": "c5"}), "bronze.gaps": noted("c6", 60)}
    assert place_of_gaps(notes) == at(60)


def test_what_was_said_of_a_table_still_counts_after_a_commit_that_hands_its_offsets_on() -> None:
    handed_on = Notes("c7", {**noted("c5", 50).values, NOTED_AT: "c5"})
    assert place_of_gaps({"bronze.trades": noted("c9", 90, {"bronze.gaps": "c5"}), "bronze.gaps": handed_on}) == at(90)


def test_a_table_that_was_made_anew_reads_from_the_beginning() -> None:
    assert place_of_gaps({"bronze.trades": noted("c9", 90, {"bronze.gaps": "c5"})}) == {}


def test_a_table_that_never_had_a_row_is_not_read_again_from_the_beginning() -> None:
    assert place_of_gaps({"bronze.trades": noted("c9", 90, {"bronze.gaps": ""})}) == at(90)


def test_the_ids_of_topics_are_those_of_the_commit_that_said_last_how_far_a_table_is() -> None:
    def with_ids(notes: Notes, ids: Mapping[str, str]) -> Notes:
        return Notes(notes.commit, {**notes.values, TOPIC_IDS: json.dumps(ids)})

    told = with_ids(noted("c9", 90, {"bronze.gaps": "c5"}), {TOPIC: "b", "dead_letters": "c"})
    own = with_ids(noted("c5", 50), {TOPIC: "a", "gone": "d"})
    lake: Any = Notebook({"bronze.trades": told, "bronze.gaps": own})
    place = places(lake, [trades, gaps])["bronze.gaps"]
    assert place.ids == {TOPIC: "b", "gone": "d"}
    assert place.noted() == {OFFSETS: json.dumps(at(90)), TOPIC_IDS: json.dumps(place.ids), NOTED_AT: "c5"}


@pytest.mark.parametrize(
    ("steps", "merged"),
    [
        ([14_000], []),
        ([15_000], [SIXTY_FOUR_MB]),
        ([200_000, 3_000], [FOUR_MB]),
        ([200_000, 20_000], [FOUR_MB, SIXTY_FOUR_MB]),
        ([200_000, 200_000, 200_000, 14_000], [FOUR_MB, FOUR_MB]),
    ],
    ids=["a calm minute", "a busy one", "what earlier runs left", "a backlog", "a long backlog"],
)
def test_log_files_never_hold_more_rows_than_can_be_merged(
    monkeypatch: pytest.MonkeyPatch, steps: list[int], merged: list[int]
) -> None:
    waiting, done, seen = list(steps), Ingested(), []

    class Run:
        """Brings as many rows as the next step has."""

        def __init__(self, *_given: object) -> None:
            self.done, self.read_to = {"bronze.trades": done}, at(0)

        def step(self, *_given: object, **_options: object) -> bool:
            done.rows += waiting.pop(0)
            return not waiting

    class Lake:
        """Remembers what it was to merge."""

        def merge_large(self, _table: Table, log_bytes: int = FOUR_MB) -> None:
            seen.append(log_bytes)

    monkeypatch.setattr(module, "_Run", Run)
    monkeypatch.setattr(module.kafka_source, "topic_ids", lambda *_given: {})
    monkeypatch.setattr(module.kafka_source, "bounds", lambda *_given: (at(0), at(0)))
    lake: Any = Lake()
    assert module.ingest(lake, [trades], "")["bronze.trades"].rows == sum(steps)
    assert seen == merged


class Recorder(Notebook):
    """Keeps what is written, too."""

    def __init__(self, notes: Mapping[str, Notes]) -> None:
        super().__init__(notes)
        self.spark = self
        self.written: list[tuple[str, Any, Mapping[str, str]]] = []

    def createDataFrame(self, rows: Any, _schema: str) -> Any:  # noqa: N802 (Spark's name)
        return rows

    def write(self, table: Table, rows: Any, notes: Mapping[str, str]) -> None:
        self.written.append((table.full_name, rows, notes))


@pytest.mark.parametrize("known", [{TOPIC: "a"}, {}])
def test_a_run_stops_at_a_topic_made_anew_with_a_gap_and_forgets_no_id(known: Mapping[str, str]) -> None:
    old = Notes(FRESH, {OFFSETS: json.dumps(at(50)), TOPIC_IDS: json.dumps(known)})
    lake: Any = Recorder({"bronze.trades": old, "bronze.gaps": old})
    run = _Run(lake, [trades], "", {TOPIC: "b"}, {}, lambda _table: nullcontext())
    if not known:  # written before ids were noted: it goes on where it was, here at the end
        assert run.step(at(0), at(50), skip_expired=False)
        assert lake.written == []
        return
    with pytest.raises(ExpiredOffsetsError, match="made anew"):
        run.step(at(0), at(70), skip_expired=False)
    [(table, rows, notes)] = lake.written
    assert (table, len(rows)) == ("bronze.gaps", 1)
    assert notes[NOTED_AT] > FRESH
    assert notes == {OFFSETS: json.dumps(at(50)), TOPIC_IDS: json.dumps(known), NOTED_AT: notes[NOTED_AT]}


@pytest.mark.parametrize(("known", "left", "goes_on"), [("a", "a", True), ("b", "a", False), ("a", "", False)])
def test_a_restored_lake_goes_on_with_another_kafka_once_and_stops_at_any_other_loss(
    known: str, left: str, goes_on: bool
) -> None:
    lost = {"bronze.trades": [Lost(TOPIC, "0", 50, 0)]}
    read = {"bronze.trades": Place(at(50), FRESH, {TOPIC: known})}
    assert is_left_behind(lost, read, {TOPIC: left} if left else {}) == goes_on


def written(found: Mapping[str, int], gaps_commit: str = FRESH, gaps_at: int = 50) -> set[str]:
    read = {"bronze.trades": Place(at(50), FRESH), "bronze.gaps": Place(at(gaps_at), gaps_commit)}
    ends = {name: furthest(place.offsets, at(70)) for name, place in read.items()}
    return to_write(STREAMS, found, read, ends, TOPICS, NOW)


def test_a_table_without_rows_is_not_written() -> None:
    assert written({"trade": 5}) == {"bronze.trades"}


def test_a_quiet_table_is_written_once_an_hour() -> None:
    assert written({"trade": 5}, gaps_commit=OLD) == {"bronze.trades", "bronze.gaps"}


def test_a_table_that_never_had_a_row_gets_a_commit_of_its_own() -> None:
    assert written({"trade": 5}, gaps_commit="") == {"bronze.trades", "bronze.gaps"}


def test_where_nothing_came_for_any_table_one_of_them_says_so() -> None:
    assert len(written({"foreign": 5})) == 1


def test_a_table_that_is_further_than_this_step_looked_says_nothing_of_others() -> None:
    assert "bronze.gaps" in written({"gap": 1}, gaps_at=99)
    assert "bronze.trades" in written({"gap": 1}, gaps_at=99), "it moved, and gaps, which is ahead, cannot tell"


@given(st.lists(st.tuples(st.sampled_from(["trade", "gap", "ticker"]), st.booleans(), st.integers(0, 3)), max_size=40))
def test_whatever_is_killed_whenever_every_message_comes_to_its_table(
    story: list[tuple[str, bool, int]],
) -> None:
    """A model of runs: each message is one offset; of what a run writes, only so many commits are done.

    Where it says three, a repair has written gaps, and handed their notes on.
    """
    log: list[str] = []
    notes: dict[str, Notes] = {}
    stored: dict[str, set[int]] = {name: set() for name in STREAMS}

    def run(commits: int | None) -> None:
        lake: Any = Notebook(notes)
        read = places(lake, [trades, gaps])
        ends = {name: furthest(place.offsets, at(len(log))) for name, place in read.items()}
        start = min(place.offsets.get(TOPIC, {}).get("0", 0) for place in read.values())
        found = {stream: log[start:].count(stream) for stream in set(log[start:])}
        wanted = to_write(STREAMS, found, read, ends, TOPICS, NOW)
        for name in sorted(wanted)[:commits]:
            stored[name] |= {offset for offset in range(start, len(log)) if log[offset] == STREAMS[name]}
            quiet = {other: read[other].noted_at for other in read if other not in wanted}
            commit = f"{NOW:%Y%m%d}{len(log):09}{name}"
            notes[name] = Notes(commit, {OFFSETS: json.dumps(ends[name]), QUIET: json.dumps(quiet), NOTED_AT: commit})

    for stream, runs, commits in story:
        log.append(stream)
        if commits == 3 and "bronze.gaps" in notes:
            notes["bronze.gaps"] = Notes(f"repair{len(log)}", notes["bronze.gaps"].values)
        if runs:
            run(commits)
    run(None)
    for name, stream in STREAMS.items():
        assert stored[name] == {offset for offset, kind in enumerate(log) if kind == stream}


def test_expired_offsets_are_the_same_gap_however_often_they_are_found() -> None:
    lost = Lost(TOPIC, "0", 40, 100)
    columns = gaps.TABLE.column_names
    first, again = (dict(zip(columns, expired("bronze.trades", lost, OLD, now), strict=True)) for now in (NOW, NOW))
    assert [first[name] for name in gaps.TABLE.key] == [again[name] for name in gaps.TABLE.key]
    assert (first["symbol"], first["cause"], first["status"]) == ("BTCUSDT", "offsets_expired", "lost")
    assert first["date"] == "2026-11-21"
    assert "crypto_raw_btcusdt[0] 40 to 99" in str(first["detail"])


def test_what_expired_before_a_table_was_ever_written_is_a_gap_too() -> None:
    first, again = (expired("bronze.agg_trades", Lost(TOPIC, "0", 40, 100), "", NOW) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("module", sources(), ids=lambda module: module.TABLE.full_name)
def test_every_table_from_kafka_names_its_own_event(module: ModuleType) -> None:
    tags = [other.EVENT.__struct_config__.tag for other in sources()]
    assert tags.count(module.EVENT.__struct_config__.tag) == 1
