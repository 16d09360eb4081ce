"""Which portfolios are valued: `config/portfolio.yaml`. A wrong one is refused with line and cure; the others go on."""

import csv
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared import yaml_file
from shared.settings import Settings
from shared.symbol_manager import Asset, Selector, Symbol, SymbolsFileError, named_entries, split_pair
from shared.yaml_file import Parsed, YamlFileError

CURRENCY = "USDT"
"""What every portfolio is valued in; it is the cash."""
EQUAL_WEIGHT = "equal_weight"
HEADER = ("time", "type", "symbol", "quantity", "price", "fee", "fee_asset")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_AFTER_START = re.compile(r"\+(\d+)d(?: (\d\d:\d\d(?::\d\d)?))?")
_PLACES = 18
_DIGITS = 16
"""Before the point; their products still fit."""

Money = Annotated[Decimal, Field(ge=0, max_digits=_DIGITS + _PLACES, decimal_places=_PLACES, allow_inf_nan=False)]
Part = Annotated[Decimal, Field(ge=0, le=1, decimal_places=12, allow_inf_nan=False)]
Rebalancing = Literal["never", "daily", "weekly", "monthly"]


class PortfolioFileError(YamlFileError):
    """A `portfolio.yaml`, or a portfolio in it, that is refused; the message gives file, line, reason and cure."""


class Transaction(NamedTuple):
    """A line of a file of transactions."""

    where: str
    """`FILE:LINE`."""
    time: datetime | timedelta
    """UTC, without a zone; or how long after 00:00 UTC of the portfolio's first day."""
    type: Literal["buy", "sell", "deposit", "withdrawal"]
    asset: str
    """What is bought, sold, put in or taken out."""
    quote: str
    """What it is paid in; empty for a deposit or withdrawal."""
    quantity: Decimal
    price: Decimal | None
    """In the quote asset; none: the close of its minute."""
    fee: Decimal
    fee_asset: str

    @property
    def is_flow(self) -> bool:
        return self.type in ("deposit", "withdrawal")

    def at(self, start: date) -> datetime:
        """When it was, UTC, for a portfolio that starts on this day."""
        if isinstance(self.time, timedelta):
            return datetime.combine(start, time()) + self.time
        return self.time


@dataclass(frozen=True)
class Portfolio:
    """A portfolio as its file defines it: of exactly one of `units`, `weights` and `transactions`."""

    name: str
    where: str
    """`FILE:LINE`."""
    exchange: str
    start: date | None
    """Its first day, UTC; none: the earliest that the data allows."""
    cash: Decimal
    units: Mapping[str, Decimal]
    weights: Mapping[str, Decimal]
    rebalance: Rebalancing
    fee: Decimal
    """A part of what is traded."""
    transactions: tuple[Transaction, ...]
    benchmark: str
    """An asset, or `equal_weight`."""

    @property
    def assets(self) -> tuple[str, ...]:
        """All that it may hold, by name, without cash."""
        named = {*self.units, *self.weights}
        for one in self.transactions:
            named |= {one.asset, one.quote, one.fee_asset}
        return tuple(sorted(named - {"", CURRENCY}))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols whose prices it needs at the close of each day."""
        held = {*self.assets, *([] if self.benchmark == EQUAL_WEIGHT else [self.benchmark])}
        return tuple(sorted(symbol_of(asset) for asset in held))

    @property
    def needed_at_start(self) -> tuple[str, ...]:
        """The symbols without whose price it cannot start."""
        if self.transactions and self.benchmark != EQUAL_WEIGHT:
            return (symbol_of(self.benchmark),)
        return self.symbols

    @property
    def definition(self) -> str:
        """Names what it is: another definition is valued anew from its start. Where it stands in a file is no part."""
        said: list[object] = [self.exchange, self.start, self.cash, sorted(self.units.items())]
        said += [sorted(self.weights.items()), self.rebalance, self.fee, self.benchmark]
        said += [one[1:] for one in self.transactions]
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class Refused(NamedTuple):
    """A portfolio that is not taken up, and why: file, line, reason and cure."""

    name: str
    why: str


class Portfolios(NamedTuple):
    """What a `portfolio.yaml` says."""

    accepted: tuple[Portfolio, ...]
    refused: tuple[Refused, ...]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    exchange: str = "binance"
    start: date | Literal["earliest"]
    cash: Money = Decimal(0)
    units: dict[Asset, Money] = Field(default_factory=dict)
    weights: dict[Asset, Part] = Field(default_factory=dict)
    rebalance: Rebalancing | None = None
    fee_bps: Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6, allow_inf_nan=False)] = Decimal(0)
    transactions: Path | None = None
    benchmark: Asset | Literal["equal_weight"] = "BTC"

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        kinds = [name for name in ("units", "weights", "transactions") if name in self.model_fields_set]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none of them"
            raise ValueError(f"it has {found}: give one of units, weights and transactions")
        of_weights = {"rebalance", "fee_bps"} & self.model_fields_set
        if of_weights and not self.weights:
            raise ValueError(f"{' and '.join(sorted(of_weights))} belong to weights: take them out")
        if kinds == ["units"] and not any([*self.units.values(), self.cash]):
            raise ValueError("it holds nothing: give units above 0")
        if kinds == ["weights"]:
            total = sum(self.weights.values())
            if total != 1:
                raise ValueError(
                    f"weights sum to {total:f}, not 1: change them; what is to stay in cash is the weight of {CURRENCY}"
                )
            if self.rebalance is None:
                raise ValueError("weights need rebalance: never, daily, weekly or monthly")
            if not self.cash:
                raise ValueError("weights need cash, the money that is spread over them: such as cash: 10000")
        if CURRENCY in self.units:
            raise ValueError(f"{CURRENCY} is the cash: say cash: {self.units[CURRENCY]}")
        if self.benchmark == CURRENCY:
            raise ValueError(f"{CURRENCY} is what is valued in: take BTC or equal_weight")
        if self.benchmark == EQUAL_WEIGHT and not ({*self.units, *self.weights} - {CURRENCY}) and not self.transactions:
            raise ValueError("equal_weight is of the assets, and there is none: take BTC")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    portfolios: dict[str, Any]


def symbol_of(asset: str) -> str:
    """The symbol that prices an asset in `CURRENCY`."""
    return asset + CURRENCY


def chosen(settings: Settings) -> Portfolios:
    """The portfolios of this deployment. Raises `PortfolioFileError` where the file as a whole cannot be read."""
    try:
        entries: Sequence[Symbol | Selector] = named_entries(settings.symbols_file)
    except SymbolsFileError:  # it is refused where it is used; which symbols there are is not known meanwhile
        entries = ()
    # A selector may choose any pair of its quote asset.
    selects = any(isinstance(entry, Selector) and entry.quote == CURRENCY for entry in entries)
    known = {str(entry) for entry in entries if isinstance(entry, Symbol)}
    return load(settings.portfolio_file, None if selects or not known else known)


def load(path: Path, known: Collection[str] | None = None) -> Portfolios:
    """The file's portfolios, those that are right and those that are not; `known` are the symbols there are.

    Raises `PortfolioFileError` where the file as a whole is wrong: no YAML, or no `portfolios` in it.
    """
    file, parsed = yaml_file.load(path, _File, PortfolioFileError, "`portfolios`, each with units, weights or so")
    accepted, refused = [], []
    for name, said in file.portfolios.items():
        try:
            accepted.append(_portfolio(name, said, parsed, known))
        except PortfolioFileError as error:
            refused.append(Refused(name, str(error)))
    return Portfolios(tuple(accepted), tuple(refused))


def _portfolio(name: str, said: object, parsed: Parsed, known: Collection[str] | None) -> Portfolio:
    place = ("portfolios", name)
    if not _NAME.fullmatch(name):
        raise PortfolioFileError(
            f"{parsed.at(place)}: {name!r} is no name: use a-z, 0-9, _ and -, up to 40 characters, such as my_coins."
        )
    try:
        entry = _Entry.model_validate(said)
    except ValidationError as error:
        fault = error.errors()[0]
        where = [part for part in fault["loc"] if part not in ("date", "literal['earliest']", "constrained-str")]
        reason = fault["msg"].removeprefix("Value error, ")
        cure = _CURES.get(str(fault["loc"][0]) if fault["loc"] else "", "") if fault["type"] != "value_error" else ""
        raise PortfolioFileError(
            f"{parsed.at((*place, *where))}: {'.'.join([name, *map(str, where)])}: {reason}{cure}."
        ) from None
    for field in ("units", "weights"):
        for asset in getattr(entry, field):
            if asset != CURRENCY:
                _known(asset, known, parsed.at((*place, field, asset)))
    if entry.benchmark != EQUAL_WEIGHT:
        _known(entry.benchmark, known, parsed.at((*place, "benchmark")))
    start = entry.start if isinstance(entry.start, date) else None
    transactions: tuple[Transaction, ...] = ()
    if entry.transactions is not None:
        where_named = parsed.at((*place, "transactions"))
        transactions = _transactions(parsed.path.parent / entry.transactions, where_named, start, known)
    return Portfolio(
        name=name, where=parsed.at(place), exchange=entry.exchange, start=start,  # type: ignore[arg-type]
        cash=entry.cash, units=entry.units, weights=entry.weights, rebalance=entry.rebalance or "never",
        fee=entry.fee_bps / 10_000, transactions=transactions, benchmark=entry.benchmark,
    )  # fmt: skip


_CURES = {
    "start": ": a day such as 2026-01-31, or earliest",
    "weights": ": a weight is from 0 to 1, and together they are 1",
    "units": ": what is held is 0 or more",
    "cash": ": it is 0 or more",
    "fee_bps": ": in hundredths of a percent, such as 10",
    "rebalance": ": it is never, daily, weekly or monthly",
}


def _known(asset: str, known: Collection[str] | None, where: str) -> None:
    if known is not None and symbol_of(asset) not in known:
        raise PortfolioFileError(
            f"{where}: {asset} has no price: {symbol_of(asset)} is not in symbols.yaml; add it there, or take "
            f"{asset} out."
        )


def _transactions(path: Path, where: str, start: date | None, known: Collection[str] | None) -> tuple[Transaction, ...]:
    """The transactions in order of time, those of one time in that of the file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise PortfolioFileError(f"{where}: {path} cannot be read ({error.strerror}): put it there.") from None
    except UnicodeDecodeError:
        raise PortfolioFileError(f"{where}: {path} is not UTF-8 text: save it so.") from None
    found = list(_lines(path, lines, start, known))
    if not found:
        raise PortfolioFileError(
            f"{path}:1: has no transaction: add one, such as 2026-01-31 09:00,deposit,USDT,1000,,,."
        )
    is_relative = {isinstance(one.time, timedelta) for one in found}
    if len(is_relative) > 1:
        raise PortfolioFileError(f"{path}:1: some times are days and some are after the start (+2d): write all alike.")
    return tuple(sorted(found, key=lambda one: one.time))  # type: ignore[arg-type]


def _lines(
    path: Path, lines: Sequence[str], start: date | None, known: Collection[str] | None
) -> Iterator[Transaction]:
    reader = csv.reader(lines)
    header: tuple[str, ...] = ()
    for fields in reader:
        where = f"{path}:{reader.line_num}"
        if not fields or fields[0].lstrip().startswith("#"):
            continue
        values = [field.strip() for field in fields]
        if not header:
            header = tuple(values)
            if header != HEADER:
                raise PortfolioFileError(f"{where}: the first line names the columns: {','.join(HEADER)}.")
            continue
        if len(values) != len(HEADER):
            raise PortfolioFileError(
                f"{where}: it has {len(values)} values; it needs {len(HEADER)}: {','.join(HEADER)}."
            )
        yield _transaction(where, dict(zip(HEADER, values, strict=True)), start, known)


def _transaction(
    where: str, values: Mapping[str, str], start: date | None, known: Collection[str] | None
) -> Transaction:
    kind, symbol = values["type"], values["symbol"]
    if kind not in ("buy", "sell", "deposit", "withdrawal"):
        raise PortfolioFileError(f"{where}: type is {kind!r}: it is buy, sell, deposit or withdrawal.")
    if kind in ("buy", "sell"):
        pair = split_pair(symbol)
        if pair is None:
            raise PortfolioFileError(f"{where}: {symbol!r} is no pair: write base and quote joined, such as BTCUSDT.")
        asset, quote = pair
    else:
        asset, quote = symbol, ""
        if not re.fullmatch(r"[^\sa-z/@,]{1,40}", asset):
            raise PortfolioFileError(f"{where}: {asset!r} is no asset: write it in upper case, such as BTC or USDT.")
        if any(values[name] for name in ("price", "fee", "fee_asset")):
            raise PortfolioFileError(f"{where}: a {kind} has neither price nor fee: leave them empty.")
    quantity = _amount(where, values, "quantity")
    if not quantity:
        raise PortfolioFileError(f"{where}: quantity is {values['quantity']!r}: it is above 0.")
    price, fee, fee_asset = _amount(where, values, "price"), _amount(where, values, "fee"), values["fee_asset"]
    if price == 0:
        raise PortfolioFileError(f"{where}: price is 0: it is above 0; leave it empty for the close of its minute.")
    if bool(fee) != bool(fee_asset):
        raise PortfolioFileError(f"{where}: fee and fee_asset belong together: give both, or leave both empty.")
    for one in {asset, quote, fee_asset} - {"", CURRENCY}:
        _known(one, known, where)
    if price is None and quote not in ("", CURRENCY) and known is not None and symbol not in known:
        raise PortfolioFileError(f"{where}: {symbol} is not in symbols.yaml: give the price, or add it there.")
    moment = _time(where, values["time"])
    if isinstance(moment, datetime) and start is not None and moment.date() < start:
        raise PortfolioFileError(f"{where}: {moment} is before the portfolio's start, {start}: set start to its day.")
    return Transaction(where, moment, kind, asset, quote, quantity, price, fee or Decimal(0), fee_asset)  # type: ignore[arg-type]


def _time(where: str, text: str) -> datetime | timedelta:
    if after := _AFTER_START.fullmatch(text):
        clock = time.fromisoformat(after[2]) if after[2] else time()
        return timedelta(days=int(after[1]), hours=clock.hour, minutes=clock.minute, seconds=clock.second)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PortfolioFileError(
            f"{where}: {text!r} is no time: write 2026-01-31 09:30:00 in UTC, or +2d 09:30 after the start."
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _amount(where: str, values: Mapping[str, str], name: str) -> Decimal | None:
    text = values[name]
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise PortfolioFileError(f"{where}: {name} is {text!r}: write a number such as 0.25, 0 or more.")
    exponent = amount.as_tuple().exponent
    if amount.adjusted() >= _DIGITS or (isinstance(exponent, int) and -exponent > _PLACES):
        raise PortfolioFileError(f"{where}: {name} is {text!r}: up to {_DIGITS} digits, and {_PLACES} after the point.")
    return amount
