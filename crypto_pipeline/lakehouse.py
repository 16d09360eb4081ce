"""All that knows Hudi: how a table is created, read, followed, written and compacted.

The write options are not taste: each was paid for. docs/decisions/hudi.md says how.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.contract_versions import VERSION, is_newer, relaid, versions
from crypto_pipeline.memory import Written
from crypto_pipeline.reader import LakeError, arrow_schema, open_table, timeline_of
from shared.settings import Settings
from shared.tables import BATCH_ID, BUCKETS, CONTRACTS, NOTE_PREFIX, Notes, Table, View

_PINNED, _LOADED = "pinned_", "loaded_"
_NO_COMMIT = re.compile(r"Commit \S+ not found in Commits")
"""How Hudi says that a table was never written."""
_WRITE, COMPACTION, _DROP = "deltacommit", "commit", "replacecommit"
"""How it names what wrote rows, a compaction, and what dropped partitions."""
_INSTANT = re.compile(rf"(\d+)_(\d+)\.({_WRITE}|{COMPACTION}|{_DROP})")
"""The name of a finished commit's file: when it was asked for, when it was done, and what it was."""
_HUDIS_OWN = "".join(
    f"_hoodie_{name} string, " for name in ("commit_time", "commit_seqno", "record_key", "partition_path", "file_name")
)
"""The columns that it puts before ours."""
BEGINNING = "0"
"""The mark before a table's first commit."""

_MEGABYTE = 1 << 20
_MERGED_IN_MEMORY = {
    # What is merged beyond it spills to the executor's disk. Reads heed this name too, and not `hoodie.memory.merge.…`.
    "hoodie.memory.compaction.max.size": str(64 * _MEGABYTE),
    # Hudi's own is to deflate each row that spills: to merge 750,000 took 44 s then, and takes 26.
    "hoodie.common.diskmap.compression.enabled": "false",
    # For each log file that is opened, a buffer of this size is made and filled with zeros. Hudi's own has 16 MB, and a
    # minute's log file some kilobytes.
    "hoodie.memory.dfs.buffer.max.size": str(_MEGABYTE // 4),
}
"""How rows of log files are merged, in reads and in compactions."""
_GUARDS = {
    # The metadata table leaks S3 connections until the pool is empty and everything hangs.
    "hoodie.metadata.enable": "false",
    # An operation on the Connect server outlives its client. Without these three, a killed run's late commit and its
    # retry destroy half of each other in silence; with them the second writer is refused.
    "hoodie.write.concurrency.mode": "optimistic_concurrency_control",
    "hoodie.clean.failed.writes.policy": "LAZY",
    "hoodie.write.lock.provider": "org.apache.hudi.client.transaction.lock.InProcessLockProvider",
    # It listens on every address of the machine; and it brings nothing where each write is of a second.
    "hoodie.embed.timeline.server": "false",
    # Of the executor's heap, for each task. With Hudi's own (256 MB a block, 1 GB of merged rows) a backlog of a
    # million trades in one hour ended the executor.
    "hoodie.logfile.data.block.max.size": str(16 * _MEGABYTE),
    # With gzip, Hudi's own, a merge takes about twice as long (docs/decisions/hudi.md).
    "hoodie.parquet.compression.codec": "zstd",
    # 430 kB in each base file, for an index that we do not have: sixteen times the rows of a quiet hour.
    "hoodie.parquet.bloom.filter.enabled": "false",
    **_MERGED_IN_MEMORY,
}
"""What every writer says, compaction too."""

_WRITE_OPTIONS = _GUARDS | {
    "hoodie.datasource.write.operation": "upsert",
    "hoodie.datasource.write.hive_style_partitioning": "true",
    "hoodie.datasource.write.commitmeta.key.prefix": NOTE_PREFIX,
    "hoodie.index.type": "BUCKET",
    "hoodie.index.bucket.engine": "SIMPLE",
    "hoodie.upsert.shuffle.parallelism": "4",
    # A column that a contract gave up stays in the table, null in what is written from then on; else Hudi refuses.
    "hoodie.write.set.null.for.missing.columns": "true",
    # What keeps the table small is done beside the writes: `compact` and `clean`.
    "hoodie.compact.inline": "false",
    "hoodie.clean.automatic": "false",
    "hoodie.archive.automatic": "false",
}

_BULK_INSERT = {
    "hoodie.datasource.write.operation": "bulk_insert",
    # Its own way for rows makes another key of a time than an upsert does (`2026-08-01 00:00:00.0`, and microseconds):
    # a row that comes again would stand twice. And of a key that ends in such a time it never finds the bucket.
    "hoodie.datasource.write.row.writer.enable": "false",
}

_IS_THERE = {"hoodie.query.as.ro.table": "false"}
"""Makes a second name, read as usual, for a table that is there, and does not list every partition that it ever had.

Listing them grows with the history. On a lake of a quarter of an hour a killed server was back after 40 to 56 s on two
cores, and is after 25 to 41 with this, the more of the runs that it ended try again meanwhile.
"""
_IS_NOT_THERE = "need the existence of the base table"
"""How Hudi refuses that where the table was never made."""

_FILES_OF_COMMITS = 40
"""Cleaning leaves the files that the latest so many commits need."""
_COMMITS_KEPT, _COMMITS_AT_MOST = 60, 70
"""The timeline stays long enough to follow a table for an hour of minute batches; Hudi's clients read it."""
_STRATEGIES = "org.apache.hudi.table.action.compact.strategy"
_AT_WORK = "HoodieLockException"
"""How it says that another session is merging these files now."""
_LARGE = 4_000_000
"""Bytes of log files that are merged into the base file, however few they are."""
_BULK = 10_000
"""So many rows written together are a history, not a minute."""
_FEW = 5_000
"""So many rows at most are written by one task. Hudi makes each ready for 0.1 s, also those that get none."""


class LostPlaceError(Exception):
    """A table holds rows, but no commit in its timeline says how far its source was read."""


class NewerLakeError(Exception):
    """A table was written by a newer code than this."""


class NeedsUpgradeError(Exception):
    """A table's rows lie otherwise than they would be written now: in other buckets, partitions or types."""


def check_version(table: Table, version: str) -> None:
    """Raises `NewerLakeError` where that is a newer one than this code's."""
    if is_newer(version):
        raise NewerLakeError(
            f"{table.full_name} was written by the version {version} of the contracts, and this code has {VERSION}: "
            "update the code, or restore a backup from before (docs/recipes/upgrade.md)."
        )


class Commit(NamedTuple):
    """One finished commit: when it was asked for, when it was done (the mark to follow by), and what it was."""

    requested: str
    completed: str
    action: str


@dataclass(frozen=True)
class Changes:
    """What came into a table since a mark: the rows in their latest state, and the mark to go on from."""

    rows: DataFrame
    until: str
    commits: tuple[Commit, ...] | None = None
    """Those that wrote them. None where the timeline no longer says it."""


@dataclass(frozen=True)
class Lakehouse:
    """The tables in one bucket, through one Spark session."""

    spark: SparkSession
    settings: Settings
    """Where the bucket is. What lies in it is written by Spark; what its timelines say is asked of the store itself."""
    buckets: int
    """Over how many files a partition is spread of the tables that leave it open."""
    batch_id: str = ""
    """The newest batch of messages that is in what is written, where that is known (`crypto_pipeline.batches`)."""
    kept: Written | None = None
    """The rows of the latest commits that this machine wrote, where they are kept."""
    _loaded: dict[str, str] | None = None
    """The views of the tables that were read, by full name, while each is to be looked for once."""

    def path(self, table: Table) -> str:
        return f"s3a://{self.settings.bucket}/{table.folder}"

    @contextmanager
    def loaded(self) -> Iterator["Lakehouse"]:
        """This lake, where each table stays as it was when it was first read, until the end of the block.

        Hudi asks the bucket for a table's timeline and files with each relation that is made, and Connect makes one for
        each use of a frame. A view keeps its own, with the files that it found. What is written meanwhile is not seen.
        """
        views: dict[str, str] = {}
        try:
            yield replace(self, _loaded=views)
        finally:
            for name in views.values():
                self.spark.catalog.dropTempView(name)

    def _stored(self, table: Table) -> DataFrame:
        """What lies in the bucket, with Hudi's own columns."""
        if self._loaded is None:
            return self._opened(table)
        if table.full_name not in self._loaded:
            name = f"{_LOADED}{uuid4().hex}"
            self._opened(table).createOrReplaceTempView(name)
            self._loaded[table.full_name] = name
        return self.spark.table(self._loaded[table.full_name])

    def _opened(self, table: Table, **options: str) -> DataFrame:
        """A relation of its own. Without the schema Hudi would look for it, in the timeline and in a file."""
        schema = _HUDIS_OWN + _columns(table)
        return self._hudi(**options).schema(schema).load(self.path(table))

    def _as_it_lies(self, table: Table) -> DataFrame:
        """The table with the columns that it has, and their types there."""
        return self._hudi().load(self.path(table))

    def _hudi(self, **options: str) -> DataFrameReader:
        return self.spark.read.format("hudi").options(**_MERGED_IN_MEMORY, **options)

    def create_database(self, layer: str) -> None:
        """Make the layer known."""
        self.spark.sql(f"CREATE DATABASE IF NOT EXISTS {layer}")

    def create(self, table: Table) -> None:
        """Register the table with the session's server, and make it where it is not there yet.

        Raises `NeedsUpgradeError` where its rows lie otherwise than its contract or LAKE_BUCKETS says, and
        `NewerLakeError` where a newer code has written to it.
        """
        try:
            self._register(table, _IS_THERE)
        except AnalysisException as error:
            if _IS_NOT_THERE not in str(error):
                raise
            self._register(table, {})
        self._check_written(table)
        self._add_new_columns(table)

    def _register(self, table: Table, properties: dict[str, str]) -> None:
        columns = ", ".join(f"`{c.name}` {c.type} COMMENT {_literal(c.comment)}" for c in table.columns)
        options = {"type": "mor", "primaryKey": ",".join(table.key)} | self._table_options(table) | properties
        if table.ordering:
            options["preCombineField"] = table.ordering
        listed = ", ".join(f"'{name}' = '{value}'" for name, value in options.items())
        partitioned = f"PARTITIONED BY ({', '.join(table.partitions)})" if table.partitions else ""
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS {table.full_name} ({columns}) USING hudi {partitioned} "
            f"COMMENT {_literal(table.grain)} LOCATION '{self.path(table)}' TBLPROPERTIES ({listed})"
        )

    def _check_written(self, table: Table) -> None:
        try:
            notes = self.notes(table, BUCKETS)
        except LostPlaceError:  # it was written before commits said it
            return
        if notes is None:
            return
        known = versions()
        version = notes.values.get(CONTRACTS, next(iter(known)))
        check_version(table, version)
        if reasons := relaid(table, version, int(notes.values[BUCKETS]), self._buckets(table), known):
            raise NeedsUpgradeError(
                f"{table.full_name} must be laid anew: {'; '.join(reasons)}. `crypto upgrade` does it, after "
                "`./stop.sh` and with a backup; LAKE_BUCKETS may be set back instead."
            )

    def _buckets(self, table: Table) -> int:
        return table.buckets or self.buckets

    def _table_options(self, table: Table) -> dict[str, str]:
        return {
            "hoodie.bucket.index.hash.field": table.bucket,
            "hoodie.bucket.index.num.buckets": str(self._buckets(table)),
        }

    def _add_new_columns(self, table: Table) -> None:
        """Give a table that was made before the columns that its contract got since; they are null in its rows."""
        there = set(self._as_it_lies(table).columns)
        new = [column for column in table.columns if column.name not in there]
        if new:
            for name, value in _GUARDS.items():  # the command takes no options; it asks the session
                self.spark.conf.set(name, value)
            columns = ", ".join(f"`{c.name}` {c.type} COMMENT {_literal(c.comment)}" for c in new)
            self.spark.sql(f"ALTER TABLE {table.full_name} ADD COLUMNS ({columns})")

    def stored(self, table: Table, types: Mapping[str, str]) -> DataFrame:
        """The rows with the contract's columns and types, however they lie: `types` are those of its columns there.

        What was added is null, but for the parts of a time by which rows lie.
        """
        lying = self._as_it_lies(table)
        there = set(lying.columns)

        def column(one: Any) -> Column:
            if one.name in there:
                kept = F.col(one.name)
                return kept if types.get(one.name, one.type) == one.type else kept.cast(one.type).alias(one.name)
            if table.time and one.name in _JAVA_FORMATS:
                return F.date_format(table.time, _JAVA_FORMATS[one.name]).alias(one.name)
            return F.lit(None).cast(one.type).alias(one.name)

        return lying.select(*map(column, table.columns))

    def forget(self, table: Table) -> None:
        """The session's server no longer knows the table; its files stay."""
        self.spark.sql(f"DROP TABLE IF EXISTS {table.full_name}")

    def create_view(self, view: View) -> None:
        """Register a view; its tables must be there."""
        self.spark.sql(f"CREATE OR REPLACE VIEW {view.full_name} COMMENT {_literal(view.grain)} AS {view.sql}")

    def read(self, table: Table, hours: Iterable[datetime] | None = None) -> DataFrame:
        """The table's rows as they are now; with `hours`, only those of its time column from the first to the last."""
        rows = self._stored(table).select(table.column_names)
        return rows if hours is None else rows.filter(of_hours(table, list(hours)))

    def no_rows(self, table: Table) -> DataFrame:
        """A frame like the table's, empty: what the optimizer sees to be so, it leaves out of every plan."""
        return self.spark.createDataFrame([], _columns(table))

    def commits(self, table: Table) -> list[Commit]:
        """The finished commits that the table's timeline still has, the latest first by completion.

        Their files' names say it all. Hudi's own procedure reads each of them, which is 100 requests for 100 commits.
        """
        names = timeline_of(table, self.settings)
        commits = [Commit(*found.groups()) for name in names if (found := _INSTANT.fullmatch(name))]
        return sorted(commits, key=lambda commit: commit.completed, reverse=True)

    def rows_written(self, table: Table, commits: Iterable[Commit]) -> int:
        """How many rows commits wrote; of a row that several wrote, each is counted."""
        return sum(
            row.total_records_written or 0
            for commit in commits
            if commit.action == _WRITE
            for row in self.spark.sql(
                f"CALL show_commit_write_stats(table => '{table.full_name}', instant_time => '{commit.requested}')"
            ).collect()
        )

    def note(self, table: Table, name: str) -> str | None:
        """The value that the latest commit carrying this note gave it; none where the table was never written.

        Raises `LostPlaceError` where the table has commits and none of them carries the note.
        """
        notes = self.notes(table, name)
        return notes.values[name] if notes else None

    def notes(self, table: Table, name: str) -> Notes | None:
        """All notes of the latest commit that carries the one of this name; none where there never was one.

        Raises `LostPlaceError` where none carries it, and rows came by a commit that is not ours. Ours hand their notes
        on; one that only adds columns has no rows.
        """
        commits = self.commits(table)
        last = max(commits, key=lambda commit: commit.requested, default=None)
        if last and last.action == _WRITE:
            with suppress(LakeError):  # then Spark is asked, a tenth of a second later
                noted = next(open_table(table, self.settings).writes(last.requested), None)
                if noted and name in noted.notes:
                    return Notes(noted.requested, noted.notes)
        latest = self._notes(table)
        if latest is None or name in latest.values:
            return latest
        is_ours = True
        for commit in commits:
            if commit.action == COMPACTION:
                continue
            notes = self._notes(table, commit.requested)
            if notes and name in notes.values:
                return notes
            is_noted = notes is not None and BUCKETS in notes.values
            is_ours = is_ours and (is_noted or not self.rows_written(table, [commit]))
        if is_ours:
            return None
        raise LostPlaceError(
            f"{table.full_name} has {len(commits)} commits and none says how far its source was read; "
            "writing on could skip or repeat. Silver and gold go on with the run configuration from_scratch: true; "
            "for bronze see docs/recipes/rebuild.md."
        )

    def _notes(self, table: Table, commit: str = "") -> Notes | None:
        """The notes of a commit, or of the latest; none where there is none."""
        instant = f", instant_time => '{commit}'" if commit else ""
        try:
            rows = self.spark.sql(f"CALL show_commit_extra_metadata(table => '{table.full_name}'{instant})").collect()
        except Exception as error:
            if commit or not _NO_COMMIT.search(str(error)):
                raise
            return None
        named = {row.metadata_key: row.metadata_value for row in rows}
        values = {key[len(NOTE_PREFIX) :]: str(named[key]) for key in named if key.startswith(NOTE_PREFIX)}
        return Notes(rows[0].instant_time if rows else commit, values)

    def changes(self, table: Table, since: str) -> Changes:
        """The rows written after the mark `since`, following commits in the order in which they became visible.

        Where the timeline no longer reaches back to the mark, it is the rows of all commits that were asked for since a
        day before it: more work, the same result.
        """
        commits = self.commits(table)
        if not commits:
            return Changes(self.no_rows(table), since, ())
        until, earliest = commits[0].completed, commits[-1].completed
        writes = tuple(commit for commit in commits if commit.completed > since and commit.action == _WRITE)
        if since >= earliest and not writes:
            return Changes(self.no_rows(table), until, ())
        if since < earliest:
            every = self._stored(table)
            late = every if since == BEGINNING else every.filter(F.col("_hoodie_commit_time") >= _day_before(since))
            return Changes(late.select(table.column_names), until)
        has_lost_some = any(commit.completed > since and commit.action == _DROP for commit in commits)
        if self.kept and not has_lost_some:
            known = self.kept.of(table, [commit.completed for commit in reversed(writes)])
            if known is not None:
                return Changes(self.local(table, known), until, writes)
        span = {
            "hoodie.datasource.query.type": "incremental",
            "hoodie.datasource.read.begin.instanttime": since,
            "hoodie.datasource.read.end.instanttime": until,
        }
        return Changes(self._opened(table, **span).select(table.column_names), until, writes)

    def latest(self, table: Table, hours: Iterable[datetime]) -> DataFrame:
        """The rows of these hours that the latest commit wrote: what is kept of it, else the files that it wrote.

        None where the timeline has no commit before it.
        """
        writes = [commit for commit in self.commits(table) if commit.action == _WRITE]
        rows = self.changes(table, writes[1].completed).rows if len(writes) > 1 else self.no_rows(table)
        return rows.filter(of_hours(table, list(hours)))

    def arrow(self, rows: DataFrame) -> Iterator[pa.Table]:
        """The rows piece by piece, as the server sends them: some megabytes each, none of which is kept."""
        if hasattr(rows, "_jdf"):  # of Spark in this process
            yield from (pa.Table.from_batches([piece]) for piece in rows._collect_as_arrow())
            return
        client: Any = rows.sparkSession.client
        plan: Any = rows._plan
        for piece in client.to_table_as_iterator(plan.to_proto(client)):
            if isinstance(piece, pa.Table):  # before them comes the schema
                yield piece

    def collected(self, table: Table, rows: DataFrame, most: int) -> pa.Table | None:
        """Rows of the table in this process, with its contract's columns and types; none where they are more."""
        schema = arrow_schema(table)
        pieces = [piece.select(schema.names).cast(schema) for piece in self.arrow(rows.limit(most + 1))]
        found = pa.concat_tables([schema.empty_table(), *pieces])
        return found if found.num_rows <= most else None

    def local(self, table: Table, rows: pa.Table) -> DataFrame:
        """Rows of the table that are in this process, as a leaf of the plans that they stand in."""
        if not rows.num_rows:
            return self.no_rows(table)
        session: Any = self.spark
        if hasattr(session, "_jsparkSession"):  # in this process
            return self.spark.createDataFrame([tuple(row.values()) for row in rows.to_pylist()], _columns(table))
        # Not before the logs are set up: that has its silent logger speak, of all plans and what is in them.
        from pyspark.sql.connect.dataframe import DataFrame as DataFrameOfConnect
        from pyspark.sql.connect.plan import LocalRelation

        whole = rows.combine_chunks()  # the server takes an empty batch for the end: what comes after it was lost
        frame: Any = DataFrameOfConnect.withPlan(LocalRelation(whole, _columns(table)), session)
        return frame  # type: ignore[no-any-return]

    @contextmanager
    def pinned(self, rows: DataFrame, *, at_once: bool = False) -> Iterator[DataFrame]:
        """The rows, computed once (`at_once` or when first used) and kept until the end of the block.

        `persist` alone does nothing over Spark Connect: each use sends the whole plan again, its Hudi and Kafka
        relations are made anew, and the cache does not know them. A view keeps the relations that it was made with.
        """
        name = f"{_PINNED}{uuid4().hex}"
        try:
            rows.createOrReplaceTempView(name)
            self.spark.sql(f"CACHE {'' if at_once else 'LAZY '}TABLE {name}")
            yield self.spark.table(name)
        finally:
            self._unpin(name)

    def end_leftovers(self) -> None:
        """End what a killed run still does in this session, which is ours alone, and let go of what it held."""
        self.spark.interruptAll()
        for row in self.spark.sql(f"SHOW VIEWS LIKE '{_PINNED}*|{_LOADED}*'").collect():
            self._unpin(row.viewName)

    def _unpin(self, name: str) -> None:
        self.spark.sql(f"UNCACHE TABLE IF EXISTS {name}")
        self.spark.catalog.dropTempView(name)

    def is_empty(self, table: Table, hours: Iterable[datetime]) -> bool:
        """No row lies in the partitions of these hours."""
        rows = self._stored(table).filter(_partition_filter(table, hours))
        return not rows.limit(1).count()

    def write(
        self,
        table: Table,
        rows: DataFrame,
        notes: Mapping[str, str],
        *,
        is_unique: bool = False,
        into_empty: bool = False,
        count: int | None = None,
    ) -> None:
        """Upsert rows by the table's key, and the notes, in one commit: both are there or neither is.

        `is_unique`: no key stands twice in the rows; else Hudi looks for such, in a shuffle that is a fifth of a small
        write. Said of rows of which it is not true, it makes both stay, for ever.
        `into_empty`: so it is, and the rows' partitions are empty. Then they become base files at once, not log files
        that are to be merged.
        `count`: so many rows there are; none where nobody counted them. A few are written by one task, many in the
        order of time: who wants some hours then finds them on a few of a file's pages, and decodes no other.
        Without notes those of the latest commit are handed on: an import does not make the place in Kafka be forgotten.
        Raises where another writer was quicker. Then the run fails, and the next reads again how far its sources are.
        """
        if not notes and (handed_on := self.notes(table, BUCKETS)):
            notes = {name: value for name, value in handed_on.values.items() if name != BATCH_ID}
        if self.batch_id:
            notes = {**notes, BATCH_ID: self.batch_id}
        options = self._write_options(table, notes) | {"hoodie.combine.before.upsert": str(not is_unique).lower()}
        if into_empty:
            options |= _BULK_INSERT
        if count is not None and count <= _FEW:
            rows = rows.coalesce(1)
            options["hoodie.upsert.shuffle.parallelism"] = "1"
        elif count is not None and count >= _BULK and table.time:
            rows = rows.sort(table.time)
        rows.write.format("hudi").options(**options).mode("append").save(self.path(table))

    def write_known(self, table: Table, rows: pa.Table, notes: Mapping[str, str]) -> None:
        """Upsert a few rows that are in this process, no key of which stands twice, and keep them for who follows."""
        keeps = self.kept and rows.num_rows < _BULK
        before = {commit.completed for commit in self.commits(table)} if keeps else set()
        self.write(table, self.local(table, rows), notes, is_unique=True, count=rows.num_rows)
        if self.kept and keeps:
            with suppress(LakeError):  # they are written: who follows them can read them
                new = [one for one in self.commits(table) if one.action == _WRITE and one.completed not in before]
                if len(new) == 1:  # of two it is not known which is ours
                    self.kept.keep(table, new[0].completed, rows)

    def drop(self, table: Table, partitions: Sequence[str]) -> None:
        """Let go of whole partitions (`date=2026-08-01/hour=00`) in one commit; of one that is gone nothing becomes.

        No reader sees their rows from then on; cleaning removes the files. Who follows the table is told of nothing.
        """
        handed_on = self.notes(table, BUCKETS)
        options = self._write_options(table, handed_on.values if handed_on else {}) | {
            "hoodie.datasource.write.operation": "delete_partition",
            "hoodie.datasource.write.partitions.to.delete": ",".join(partitions),
        }
        self.no_rows(table).write.format("hudi").options(**options).mode("append").save(self.path(table))

    def _write_options(self, table: Table, notes: Mapping[str, str]) -> dict[str, str]:
        notes = {**notes, BUCKETS: str(self._buckets(table)), CONTRACTS: VERSION}
        options = (
            _WRITE_OPTIONS
            | self._table_options(table)
            | {
                "hoodie.table.name": table.name,
                "hoodie.datasource.write.table.type": "MERGE_ON_READ",
                "hoodie.datasource.write.recordkey.field": ",".join(table.key),
                "hoodie.datasource.write.partitionpath.field": ",".join(table.partitions),
            }
            | {NOTE_PREFIX + name: value for name, value in notes.items()}
        )
        if table.ordering:
            options["hoodie.datasource.write.precombine.field"] = table.ordering
        return options

    def compact(
        self,
        table: Table,
        now: datetime,
        *,
        everywhere: bool = False,
        log_files: int = 20,
        log_bytes: int = _LARGE,
    ) -> int:
        """Merge log files into base files where it is time; gives how many files were made anew.

        Every file with `log_files` of them, or with `log_bytes` in them. By the hour also: every hour that is over and
        has log files, so also one that late data came to; `everywhere` such days and months too. Only what was written
        since the last compaction is looked at, but with `everywhere`. What another session merges now is left to it.
        """
        is_by_time = "hour" in table.partitions or (everywhere and lies_by_time(table))
        wanted = [
            *([("PartitionRegexBased", "partition.path.regex", _what_is_over(table, now))] if is_by_time else []),
            ("LogFileNumBased", "logfile.num.threshold", str(log_files)),
            ("LogFileSizeBased", "logfile.size.threshold", str(log_bytes)),
        ]
        return sum(self._merge(table, *how, everywhere=everywhere) for how in wanted)

    def merge_large(self, table: Table, log_bytes: int = _LARGE) -> int:
        """Merge the log files of every file that has so many bytes in them; gives how many files were made anew."""
        return self._merge(table, "LogFileSizeBased", "logfile.size.threshold", str(log_bytes), everywhere=False)

    def _merge(self, table: Table, strategy: str, name: str, bound: str, *, everywhere: bool) -> int:
        options = _GUARDS | {
            "hoodie.compact.inline.max.delta.commits": "1",
            "hoodie.table.services.incremental.enabled": str(not everywhere).lower(),
            "hoodie.compaction.strategy": f"{_STRATEGIES}.{strategy}CompactionStrategy",
            f"hoodie.compaction.{name}": bound,
        }
        try:
            done = self.spark.sql(
                f"CALL run_compaction(op => 'scheduleAndExecute', table => '{table.full_name}', "
                f"options => '{_pairs(options)}')"
            ).collect()
        except Exception as error:
            if _AT_WORK not in str(error):
                raise
            return 0
        return sum(row.operation_size for row in done)

    def compact_after_bulk(self, table: Table, rows: int, now: datetime) -> None:
        """Merge at once what was written in bulk: until then each reader would decode its log files again."""
        if rows >= _BULK:
            self.compact(table, now, everywhere=True)

    def clean(self, table: Table) -> int:
        """Remove the files that compaction replaced, and move old commits out of the timeline; gives how many files.

        What followers and readers of the last 40 commits need stays.
        """
        done = self.spark.sql(
            f"CALL run_clean(table => '{table.full_name}', retain_commits => {_FILES_OF_COMMITS}, "
            f"options => '{_pairs(_GUARDS)}')"
        ).collect()
        self.spark.sql(
            f"CALL archive_commits(table => '{table.full_name}', min_commits => {_COMMITS_KEPT}, "
            f"max_commits => {_COMMITS_AT_MOST}, retain_commits => {_FILES_OF_COMMITS}, enable_metadata => false)"
        ).collect()
        return sum(row.total_files_deleted for row in done)


def marks(changes: Mapping[str, Changes]) -> str:
    """The note that keeps how far each source was followed."""
    return json.dumps({name: change.until for name, change in changes.items()}, sort_keys=True)


def hours_between(start: datetime, end: datetime, step: int = 1) -> Sequence[datetime]:
    """Every hour that `[start, end]` touches; with `step` the first, the last, and each so many hours between them."""
    first = start.replace(minute=0, second=0, microsecond=0)
    last = int((end - first).total_seconds() // 3600)
    return [first + timedelta(hours=n) for n in [*range(0, last, step), last]] if last >= 0 else []


def _day_before(mark: str) -> str:
    """No write takes a day: what was asked for before this was done before the mark."""
    moment = datetime.strptime(mark[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return (moment - timedelta(days=1)).strftime("%Y%m%d%H%M%S")


_PARTITION_FORMATS = {"date": "%Y-%m-%d", "hour": "%H", "month": "%Y-%m"}

_JAVA_FORMATS = {"date": "yyyy-MM-dd", "hour": "HH", "month": "yyyy-MM"}


def lies_by_time(table: Table) -> bool:
    """Whether the rows of some hours lie in partitions of their own."""
    return not _PARTITION_FORMATS.keys().isdisjoint(table.partitions)


def of_hours(table: Table, hours: Sequence[datetime]) -> Column:
    """The condition that a row lies in these hours, or between them."""
    condition = _partition_filter(table, hours)
    if table.time and hours:
        end = max(hours) + timedelta(hours=1)
        condition = condition & (F.col(table.time) >= F.lit(min(hours))) & (F.col(table.time) < F.lit(end))
    return condition


def _partition_filter(table: Table, hours: Iterable[datetime]) -> Column:
    """The condition that a row lies in a partition of these hours; other partition columns are left open."""
    names = [name for name in table.partitions if name in _PARTITION_FORMATS]
    wanted = {tuple(hour.strftime(_PARTITION_FORMATS[name]) for name in names) for hour in hours}
    lasts: dict[tuple[str, ...], list[str]] = {}
    for values in sorted(wanted):
        lasts.setdefault(values[:-1], []).append(values[-1])
    # Days of which the same hours are wanted share a condition: one for each of 400 would be too deep for Spark.
    leads: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for lead, ends in lasts.items():
        leads.setdefault(tuple(ends), []).append(lead)
    condition = F.lit(False)
    for ends_alike, alike in leads.items():
        one = F.col(names[-1]).isin(list(ends_alike))
        for name, choice in zip(names[:-1], zip(*alike, strict=True), strict=True):
            one = one & F.col(name).isin(list(choice))
        condition = condition | one
    return condition


def _what_is_over(table: Table, now: datetime) -> str:
    """A pattern of a table's partitions of all times but that of now and the next.

    It bears neither comma nor equals sign, at which Hudi would cut it.
    """
    following = {
        "hour": now + timedelta(hours=1),
        "date": now + timedelta(days=1),
        "month": now.replace(day=1) + timedelta(days=31),
    }[table.partitions[-1]]
    to_come = {
        "/".join(f"{name}.{time.strftime(_PARTITION_FORMATS.get(name, '[^/]+'))}" for name in table.partitions)
        for time in (now, following)
    }
    return f"^(?!({'|'.join(sorted(to_come))})$)"


def _columns(table: Table) -> str:
    """The contract's columns, as Spark takes a schema."""
    return ", ".join(f"`{column.name}` {column.type}" for column in table.columns)


def _pairs(options: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())


def _literal(text: str) -> str:
    """A Spark SQL string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
