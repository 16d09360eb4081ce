"""What is to be streamed now: `symbols.yaml` as it changes, and what its selectors choose, anew each day."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.symbol_manager import Listed, Resolved, Watchlist, load_watchlist, resolved
from streaming.exchange import check_exchanges

DAY = 86_400_000_000


class SymbolsFile:
    """The file as it changes. A wrong one is reported once and changes nothing."""

    def __init__(self, path: Path, active: str) -> None:
        self._path = path
        self._active = active
        self._seen: bytes | None = None

    def changed(self) -> Watchlist | None:
        """What it says, where it was written since the last call; else none.

        Raises `SymbolsFileError`, once for each wrong content.
        """
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        if content == self._seen:
            return None
        self._seen = content
        watchlist = load_watchlist(self._path, self._active)
        check_exchanges([*watchlist.symbols, *watchlist.selectors])
        return watchlist


class Choice:
    """A watchlist with its selectors worked out. Until an exchange says what it lists, they choose nothing on it."""

    def __init__(self, watchlist: Watchlist) -> None:
        self._watchlist = watchlist
        self._made_from: tuple[int, frozenset[str]] | None = None

    def renewed(self, listed: Mapping[str, Sequence[Listed]], now: int) -> Resolved | None:
        """What to stream from now (microseconds) on, where that is to be chosen anew; else none."""
        wanted = {name for selector in self._watchlist.selectors for name in selector.exchanges}
        made_from = (now // DAY if wanted else 0, frozenset(name for name in wanted if listed.get(name)))
        if made_from == self._made_from:
            return None
        self._made_from = made_from
        return resolved(self._watchlist, listed)
