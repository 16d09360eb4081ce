"""A month of a lake on a shortened clock: is it as large as `crypto du` said, and is a minute as quick as at first?

    python -m benchmarks.month                                 # 30 days of three symbols, in steps of five days
    python -m benchmarks.month --days 6 --step 2 --told-at 2   # quick, to compare two states of the code

It starts a Kafka, a MinIO, and Spark's master, worker and Connect server with their deployment's memory. Each
step sends some days of trades, klines, tickers and books through Kafka into bronze, and brings silver and gold (but the
models) up to date, lays their frames into the raw archive, lets maintenance merge and sort, and retention let go of
what is older than a week. Then some minutes come one by one, as the pipeline takes them in: of a day they are a sample.

On the day `--told-at` it notes what `crypto du` foretells for the end. It ends with 1 where the lake is a tenth larger
or smaller than that, where a minute of the last step costs more than 1.3 times the quickest before, or where a
partition has more files than maintenance leaves it.
"""

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
import zstandard
from kafka import KafkaAdminClient, KafkaProducer

from benchmarks.spark_servers import connected, settings_of
from crypto_pipeline import lakehouse, refresh
from crypto_pipeline.catalog import derived, tables
from crypto_pipeline.hudi_files import parsed
from crypto_pipeline.ingest import ingest, sources
from crypto_pipeline.lakehouse import Lakehouse, hours_between
from crypto_pipeline.retention.apply import Retention
from crypto_pipeline.sorting import sort_closed
from crypto_pipeline.usage import Folder, Growth, Usage, collect, span_of
from shared.broker import Broker
from shared.events import AnyEvent, DepthSnapshot, Kline, Ticker, Trade, encode, exact_product
from shared.retention import load_rules
from tests.crypto_pipeline.hudi_tables import put
from tests.servers import KafkaServer, MinioServer

BASES = ("BTC", "ETH", "SOL", "XRP", "BNB")
"""Those of the portfolios in config/ are among them."""
TOPIC = "month"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SECOND = 1_000_000
TRADES, TICKERS, BOOKS = 3, 2, 6
"""Of a minute of a symbol. A book holds for ten seconds."""
KEEP = "7d"
"""Of the raw archive, the tickers and the books, so that a month sees them go."""
BOUND, TENTH = 1.3, 0.1
LOGS = 20
"""So many log files a file has at most, once it is maintained."""
DECIMALS_OF_TICKERS = [one.name for one in msgspec.structs.fields(Ticker) if one.type is Decimal]


class Market:
    """What the exchange sends, minute after minute: trades whose ids have no hole, and klines that follow from them."""

    def __init__(self, bases: Sequence[str], start: datetime, days: int, trades: int = TRADES) -> None:
        self._start, self._trades = start, trades
        steps = np.random.default_rng(1).normal(0, 40, (len(bases), (days * 1440 + 1440) * TRADES)).round()
        self._cents = dict(zip(bases, 6_000_000 + np.cumsum(steps, axis=1).astype(np.int64), strict=True))

    def minute(self, base: str, number: int) -> Iterator[AnyEvent]:
        """The events of a symbol in the minute of this number, in the order in which they came; its kline is last."""
        start = self._starts(number)
        fills = self._fills(number, base)
        prices = [price for price, _, _ in fills]
        for place, (price, size, value) in enumerate(fills):
            at = start + 60 * SECOND * (4 * place + 1) // (4 * self._trades)
            yield Trade(
                **_common(base, at), event_time=at, trade_id=number * self._trades + 1 + place, price=price,
                quantity=size, quote_quantity=value, is_buyer_maker=not _is_taken(number, place),
            )  # fmt: skip
        for place in range(BOOKS):
            at = start + 60 * SECOND * place // BOOKS
            bids, asks = (tuple((prices[0] + side * level, fills[0][1]) for level in range(1, 6)) for side in (-1, 1))
            told: dict[str, Any] = {"update_id": number * BOOKS + place + 1, "levels": 5, "bids": bids, "asks": asks}
            yield DepthSnapshot(**_common(base, at), event_time=None, **told)
        kline = self.kline(base, number)
        for place in range(TICKERS):
            at = start + 60 * SECOND * place // TICKERS + 59 * SECOND // TICKERS
            values: dict[str, Any] = dict.fromkeys(DECIMALS_OF_TICKERS, prices[-1])
            values |= {"ask_price": prices[-1] + 1, "low_price": prices[-1] / 2, "high_price": prices[-1] * 2}
            values |= {"open_time": at - 86_400 * SECOND, "close_time": at}
            values |= {"first_trade_id": 1, "last_trade_id": kline.last_trade_id, "trade_count": kline.last_trade_id}
            yield Ticker(**_common(base, at), event_time=at, **values)
        yield kline

    def kline(self, base: str, number: int) -> Kline:
        """What the exchange says of the minute when it is over."""
        start = self._starts(number)
        fills = self._fills(number, base)
        prices = [price for price, _, _ in fills]
        taken = [fill for place, fill in enumerate(fills) if _is_taken(number, place)]
        return Kline(
            **_common(base, start + 60 * SECOND), event_time=start + 60 * SECOND, interval="1m", is_closed=True,
            open_time=start, close_time=start + 60 * SECOND - 1000, open=prices[0], high=max(prices), low=min(prices),
            close=prices[-1], volume=sum((size for _, size, _ in fills), Decimal()),
            quote_volume=sum((value for _, _, value in fills), Decimal()), trade_count=self._trades,
            taker_buy_volume=sum((size for _, size, _ in taken), Decimal()),
            taker_buy_quote_volume=sum((value for _, _, value in taken), Decimal()),
            first_trade_id=number * self._trades + 1, last_trade_id=(number + 1) * self._trades,
        )  # fmt: skip

    def _starts(self, number: int) -> int:
        return int((self._start + number * MINUTE).timestamp()) * SECOND

    def _fills(self, number: int, base: str) -> list[tuple[Decimal, Decimal, Decimal]]:
        """Price, size and value of each trade of the minute."""
        walk = self._cents[base][number * TRADES : (number + 1) * TRADES]
        prices = [Decimal(int(walk[place % TRADES])).scaleb(-2) for place in range(self._trades)]
        sizes = [Decimal(1 + (number * 7 + place * 13) % 90_000).scaleb(-5) for place in range(self._trades)]
        return [(price, size, exact_product(price, size)) for price, size in zip(prices, sizes, strict=True)]


def _common(base: str, at: int) -> dict[str, Any]:
    pair = {"symbol": f"{base}USDT", "base_asset": base, "quote_asset": "USDT"}
    seen = {"published_at": at + 500, "received_at": at + 90_000}
    return {"exchange": "binance", "source": "websocket", "connection_id": "month", **pair, **seen}


def _is_taken(number: int, place: int) -> bool:
    """The buyer of this trade took what was offered."""
    return (number + place) % 2 != 0


@dataclass
class Step:
    """What was seen after a step."""

    day: int
    usage: Usage
    minutes: list[dict[str, float]] = field(default_factory=list)
    """Of each minute that came by itself the seconds of bronze, and of each table that is made of it."""

    @property
    def seconds(self) -> float:
        """Of a minute."""
        return statistics.median(sum(each.values()) for each in self.minutes)

    @property
    def bytes(self) -> int:
        return sum(live(folder) for folder in self.usage.folders)

    @property
    def objects(self) -> int:
        return sum(len(folder.objects) for folder in self.usage.folders)

    def files(self) -> dict[str, int]:
        """How many files a reader opens in each partition: a base file, and log files that wait to be merged."""
        found: Counter[str] = Counter()
        for folder in self.usage.folders:
            for one in folder.objects:
                if one.path not in folder.replaced and span_of(one.path) and (name := parsed(one.path)):
                    found[f"{folder.name} {name.partition}"] += 1
        return found

    def foretold(self, days: float) -> dict[str, float]:
        """Bytes of each folder after so many days more, as `crypto du` has them grow."""
        return {folder.name: live(folder) + grown(folder.growth, days) for folder in self.usage.folders}


def grown(growth: Growth | None, days: float) -> float:
    """Bytes that come in so many days: once as much expires as comes, none do."""
    if growth is None:
        return 0.0
    return growth.bytes_a_day * (days if growth.for_days is None else min(days, growth.for_days))


def live(folder: Folder) -> int:
    """Bytes without the versions that the next maintenance removes."""
    return folder.bytes - folder.older_bytes


def say(line: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")


class Month:
    """A lake, its exchange, and a clock of its own."""

    def __init__(self, lake: Lakehouse, server: MinioServer, rules: Path, broker: Broker, market: Market) -> None:
        self._lake, self._server, self._broker, self._market = lake, server, broker, market
        self._settings = server.settings.model_copy(update={"retention_file": rules})
        with closing(KafkaAdminClient(**broker.client())) as admin:
            admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        self._producer = KafkaProducer(**broker.client(), linger_ms=20)
        made = derived("silver", "gold")
        self.each_minute = [module for module in made if not hasattr(module, "JOB")]
        self._later = [module for module in made if getattr(module, "JOB", "training") != "training"]

    def came(self, bases: Sequence[str], first: int, count: int, start: datetime) -> None:
        """So many minutes are in Kafka, and their frames in the raw archive."""
        archived: dict[tuple[str, str], list[bytes]] = {}
        for number in range(first, first + count):
            at = start + number * MINUTE
            for base in bases:
                for event in self._market.minute(base, number):
                    message = encode(event)
                    self._producer.send(TOPIC, message, key=event.symbol.encode())
                    archived.setdefault((event.symbol, f"date={at:%Y-%m-%d}/hour={at:%H}"), []).append(message)
        self._producer.flush()
        for (symbol, place), lines in archived.items():
            name = f"raw/exchange=binance/symbol={symbol}/{place}/{first}-{count}.jsonl.zst"
            put(self._server, name, zstandard.compress(b"\n".join(lines)))

    def klines_came(self, bases: Sequence[str], first: int, count: int) -> None:
        """So many minutes' klines alone are in Kafka, as an import of history has them."""
        for number in range(first, first + count):
            for base in bases:
                kline = self._market.kline(base, number)
                self._producer.send(TOPIC, encode(kline), key=kline.symbol.encode())
        self._producer.flush()

    def taken_in(self) -> None:
        ingest(self._lake, sources(), self._broker, TOPIC)

    def made(self, modules: Sequence[ModuleType], now: datetime) -> dict[str, float]:
        taken = {}
        for module in modules:
            done = refresh.refresh(self._lake, module, now, memory=self._settings.memory)
            if not done.is_sound:
                raise SystemExit(f"{module.TABLE.full_name}: {done}")
            taken[module.TABLE.full_name] = done.seconds
        return taken

    def minute(self, now: datetime) -> dict[str, float]:
        """The seconds of a run of the pipeline."""
        began = time.monotonic()
        self.taken_in()
        return {"bronze": time.monotonic() - began} | self.made(self.each_minute, now)

    def evidence_and_gold(self, now: datetime) -> None:
        self.made(self._later, now)

    def maintained(self, now: datetime) -> None:
        """As the hourly run of the job `maintenance` does it, but that merges twenty log files of a minute each: one of
        days is merged by itself here.
        """
        for table in tables().values():
            self._lake.compact(table, now, everywhere=True, log_bytes=1)
            self._lake.clean(table)
            sort_closed(table, self._settings, now)

    def let_go(self, now: datetime) -> None:
        mine = Retention(self._settings, self._lake, load_rules(self._settings))
        found = mine.decision(now)
        mine.apply(found, now, lambda line: say(f"  {line}"))
        for unit, why in list(found.stays.items())[:3]:
            say(f"  {unit.what} {unit.symbol} of {unit.day} stays: {why}")

    def usage(self, now: datetime) -> Usage:
        return collect(self._settings, now=now)


def told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"  {what} {time.monotonic() - began:.1f} s")


def lived(month: Month, bases: Sequence[str], start: datetime, days: int, step: int, minutes: int) -> list[Step]:
    """All of it."""
    steps, reached = [], 0
    for day in range(step, days + 1, step):
        count = day * 1440 - reached
        now = start + day * DAY + timedelta(seconds=5)
        say(f"day {day}")
        with timed("to bronze"):
            month.came(bases, reached, count, start)
            month.taken_in()
        with timed("candles and signals"):
            month.minute(now)
        with timed("evidence and gold"):
            month.evidence_and_gold(now)
        with timed("retention"):
            month.let_go(now)
        with timed("maintenance"):
            month.maintained(now)
        reached = day * 1440
        seen = Step(day, month.usage(now))
        for number in range(reached, reached + minutes):
            month.came(bases, number, 1, start)
            seen.minutes.append(month.minute(start + (number + 1) * MINUTE + timedelta(seconds=5)))
        reached += minutes
        say(f"  {seen.bytes / 1e6:,.1f} MB, {seen.objects:,} objects; a minute {seen.seconds:.1f} s")
        say(f"  of which the last {told(seen.minutes[-1])}")
        steps.append(seen)
    return steps


def judged(steps: Sequence[Step], told_at: int) -> bool:
    """Prints what was found. True where it is as it should be."""
    typer.echo("day      MB  objects  a minute, s")
    for one in steps:
        typer.echo(f"{one.day:3} {one.bytes / 1e6:7.1f} {one.objects:8,} {one.seconds:12.1f}")
    noted = next(one for one in steps if one.day >= told_at)
    last = steps[-1]
    foretold = noted.foretold(last.day - noted.day)
    typer.echo(f"{'':<32} MB on day {noted.day}, foretold for day {last.day}, and then")
    before = {folder.name: live(folder) for folder in noted.usage.folders}
    for folder in last.usage.folders:
        sizes = (before.get(folder.name, 0), foretold.get(folder.name, 0), live(folder))
        typer.echo(f"{folder.name:<32} {' '.join(f'{size / 1e6:9.1f}' for size in sizes)}")
    off = sum(foretold.values()) / last.bytes - 1
    typer.echo(f"`crypto du` foretold {sum(foretold.values()) / 1e6:.1f} MB, {off:+.1%} of what it is")
    ratio = last.seconds / min(one.seconds for one in steps[:-1])  # the first is of JVMs that have yet to get warm
    load = os.getloadavg()[0]
    typer.echo(f"A minute of the last step costs {ratio:.2f} times the quickest of those before; load {load:.1f}")
    counts = last.files()
    most = max(counts, key=lambda name: counts[name])
    typer.echo(f"Files a partition: {statistics.mean(counts.values()):.1f}, at most {counts[most]}, of {most}")
    return abs(off) <= TENTH and ratio <= BOUND and counts[most] <= 1 + LOGS


def of_the_month(since: Iterable[str], now: datetime) -> Sequence[datetime]:  # noqa: ARG001 (it is called by name)
    """What `refresh.recent` gives in a lake that lives now: commits bear the machine's time, and not the month's."""
    return hours_between(now - 2 * DAY, now + DAY)


def main(
    symbols: Annotated[int, typer.Option(help="How many, at most five.", max=len(BASES))] = 3,
    days: Annotated[int, typer.Option(help="How long the lake lives.")] = 30,
    step: Annotated[int, typer.Option(help="So many days come at once.")] = 5,
    minutes: Annotated[int, typer.Option(help="That come one by one after each step.")] = 3,
    told_at: Annotated[int, typer.Option(help="On which day the forecast is noted.")] = 15,
) -> None:
    """Live through it, and print what was found."""
    bases = BASES[:symbols]
    if days % step or days < 2 * step:
        raise typer.BadParameter(f"{days} days are not two or more steps of {step}")
    if told_at > days - step:
        raise typer.BadParameter(f"after day {told_at} there is no step to foretell: {days - step} is the latest")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - (days + 1) * DAY
    with tempfile.TemporaryDirectory() as place, ExitStack() as ends:
        kafka, server = KafkaServer(Path(place) / "kafka"), MinioServer(Path(place) / "minio")
        for one in (kafka, server):
            one.start()
            ends.callback(one.stop)
        rules = Path(place) / "retention.yaml"
        kept = server.settings.retention_file.read_text().replace("30d", KEEP).replace("90d", KEEP)
        rules.write_text(kept.replace("ticker: forever", f"ticker: {KEEP}"))
        os.environ["CRYPTO_HOME"] = place  # noqa: TID251 (settings know their folder from nowhere else)
        server.settings.state.mkdir(parents=True)
        refresh.recent = of_the_month
        lakehouse._FILES_OF_COMMITS = 4  # a table of each minute has forty within the hour; here a step is a few
        lake, _ = ends.enter_context(connected(Path(place), settings_of(server, kafka)))
        month = Month(lake, server, rules, kafka.settings.broker, Market(bases, start, days))
        is_good = judged(lived(month, bases, start, days, step, minutes), told_at)
    raise typer.Exit(not is_good)


if __name__ == "__main__":
    typer.run(main)
