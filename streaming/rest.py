"""Asking an exchange by REST, within its limits: all clients of a process share what they know of them.

Until when the exchange wants to hear nothing (429, 418) is shared with other processes too, and outlives them: one that
asks during a ban has it made longer.
"""

import logging
import threading
import time
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from streaming.exchange import Exchange, Request

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request

SHARE = 0.8
"""How much of the exchange's weight limit is used; the rest is for others at this address."""
ATTEMPTS = 6
"""How often a request is tried that meets a broken network or a failing server: for about 20 seconds."""
LIMITED = 8
"""How often a request may be answered 429 or 418 before it counts as refused."""
TIMEOUT_SECONDS = 15
LONGEST_BAN_SECONDS = 3 * 86_400.0
"""Binance bans an address for three days at most."""
_WORTH_A_LINE = 61
"""Seconds of waiting: the minute of a limit is over sooner."""
DEFAULT_WAIT_SECONDS = {429: 10, 418: 120}
"""Where the exchange names no `Retry-After`."""


class RestError(Exception):
    """A request that brought nothing; the message is a sentence."""


class Refused(RestError):  # noqa: N818 (an answer, not a fault)
    """The exchange will not answer this: asking again soon is useless. `code` is the exchange's own, if it said one."""

    def __init__(self, sentence: str, status: int, code: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class Unreachable(RestError):  # noqa: N818
    """The exchange did not answer, or failed; it may later."""


class Stopped(RestError):  # noqa: N818
    """The service stops; nothing more is asked."""


class _Again(Exception):  # noqa: N818
    """Worth another attempt."""


class _Limits:
    """What was used of one exchange's limit in this minute, and until when nothing may be sent."""

    def __init__(self, weight_per_minute: int) -> None:
        self._lock = threading.Lock()
        self._most = int(weight_per_minute * SHARE)
        self._used = 0
        self._minute_ends = 0.0
        self._closed_until = 0.0
        self._shared: Path | None = None

    def share(self, path: Path) -> None:
        """Keep there until when nothing may be sent, and heed what others kept."""
        with self._lock:
            self._shared = path

    def reserve(self, weight: int) -> float:
        """Takes the weight of a request, or says for how many seconds to wait before asking again."""
        with self._lock:
            now = time.monotonic()
            closed = max(self._closed_until - now, self._closed_by_others())
            if closed > 0:
                return closed
            if now >= self._minute_ends:
                self._used, self._minute_ends = 0, now + 60
            if self._used and self._used + weight > self._most:
                return self._minute_ends - now
            self._used += weight
            return 0

    def heard(self, used: int | None, seconds_left: float) -> None:
        """What a reply says: the weight used in the exchange's minute, and when that ends."""
        with self._lock:
            ends = time.monotonic() + seconds_left
            if used is not None:
                is_new = ends > self._minute_ends + 5
                self._used = used if is_new else max(self._used, used)
            self._minute_ends = ends

    def close(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)
            if self._shared and seconds > self._closed_by_others():
                try:
                    self._shared.parent.mkdir(parents=True, exist_ok=True)
                    self._shared.write_text(str(time.time() + seconds))
                except OSError as error:
                    log.warning("Other processes cannot be told that nothing may be asked: %s", error)

    def _closed_by_others(self) -> float:
        """For how many seconds, by what was kept."""
        try:
            until = float(self._shared.read_text()) if self._shared else 0.0
        except (OSError, ValueError):  # nothing was kept, or it is being written
            return 0.0
        left = until - time.time()
        return left if left <= LONGEST_BAN_SECONDS else 0.0  # no ban is that long: the clock was wrong


_limits: dict[tuple[str, str], _Limits] = {}
_limits_lock = threading.Lock()


def _limits_of(exchange: Exchange) -> _Limits:
    key = (exchange.name, exchange.base_rest_url)
    with _limits_lock:
        return _limits.setdefault(key, _Limits(exchange.weight_per_minute))


def is_free(exchange: Exchange, weight: int) -> bool:
    """Takes the weight of a request that is sent at once; False where nothing may be sent now."""
    return _limits_of(exchange).reserve(weight) == 0


def refused(exchange: Exchange, reply: httpx.Response) -> None:
    """Keep to what a 429 or 418 says."""
    if reply.status_code in (429, 418):
        _limits_of(exchange).close(_retry_after(reply))


class RestClient:
    """Sends requests to one exchange over one pool of connections. May be used by several threads.

    `stopping` makes a waiting `get` give up. `shared` is the folder by which processes tell each other of bans.
    """

    def __init__(self, exchange: Exchange, stopping: threading.Event | None = None, shared: Path | None = None) -> None:
        self._exchange = exchange
        self._stopping = stopping or threading.Event()
        self._limits = _limits_of(exchange)
        if shared:
            self._limits.share(shared / f"{exchange.name}-closed-until")
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, headers=exchange.rest_headers)

    def get(self, request: Request) -> bytes:
        """The body of the reply. It waits while the limits want it.

        Raises `Refused`, `Unreachable` after several attempts, or `Stopped`.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            wait=wait_exponential_jitter(multiplier=0.5, max=10),
            stop=stop_after_attempt(ATTEMPTS),
            sleep=self._sleep,
            retry_error_callback=partial(_give_up, httpx.URL(request.url).host),
        )
        return retrying(self._within_limits, request)

    def _within_limits(self, request: Request) -> bytes:
        for _ in range(LIMITED):
            while (seconds := self._limits.reserve(request.weight)) > 0:
                if seconds > _WORTH_A_LINE:
                    log.warning("%s: nothing may be asked for %.0f s more", self._exchange.name, seconds)
                self._sleep(seconds)
            if self._stopping.is_set():
                raise Stopped("streaming stops")
            reply = self._send(request)
            if reply.status_code not in (429, 418):
                return _body(reply)
            seconds = _retry_after(reply)
            log.warning(
                "%s: HTTP %d, too many requests; nothing is asked for %.0f s",
                self._exchange.name, reply.status_code, seconds,
            )  # fmt: skip
            self._limits.close(seconds)
        raise Refused(f"{reply.url.host} says HTTP {reply.status_code} to every attempt.", reply.status_code)

    def _send(self, request: Request) -> httpx.Response:
        try:
            reply = self._http.get(request.url)
        except httpx.RequestError as error:
            raise _Again(f"cannot be reached ({str(error) or type(error).__name__})") from None
        used = reply.headers.get(self._exchange.used_weight_header or "-", "")
        self._limits.heard(int(used) if used.isdecimal() else None, _seconds_left(reply))
        return reply

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Stopped("streaming stops")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _body(reply: httpx.Response) -> bytes:
    host, status = reply.url.host, reply.status_code
    if status == 200:
        return reply.content
    if status >= 500:
        raise _Again(f"answers HTTP {status}")
    if status in (403, 451):
        raise Refused(
            f"{host} refuses this place or this request (HTTP {status}): it does not serve every country or network.",
            status,
        )
    if status == 401:
        raise Refused(f"{host} wants a key for {reply.url.path} (HTTP 401).", status)
    try:
        said = reply.json()
        code, text = int(said["code"]), f"{said['msg']} (code {said['code']})"
    except (ValueError, TypeError, KeyError):
        code, text = None, f"HTTP {status}"
    raise Refused(f"{host} refuses {reply.url.path}: {text}.", status, code)


def _retry_after(reply: httpx.Response) -> float:
    """Seconds, given as such or as a date."""
    text = reply.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), LONGEST_BAN_SECONDS)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - time.time(), 1), LONGEST_BAN_SECONDS)
    except ValueError:
        return DEFAULT_WAIT_SECONDS[reply.status_code]


def _seconds_left(reply: httpx.Response) -> float:
    """Until the exchange's minute ends, by the clock of its reply, which counts whole seconds."""
    try:
        second = parsedate_to_datetime(reply.headers.get("Date", "")).second
    except ValueError:
        second = int(time.time() % 60)
    return 61 - second


def _give_up(host: str, state: RetryCallState) -> bytes:
    error = state.outcome.exception() if state.outcome else None
    raise Unreachable(f"{host} {error}, {state.attempt_number} times.")
