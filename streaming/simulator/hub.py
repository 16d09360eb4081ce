"""Who is subscribed to what, and the one place through which every message leaves."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, KeysView
from typing import NamedTuple

from streaming.simulator.messages import Form
from streaming.simulator.sent import SentRecord

CLIENT_BUFFER = 8 * 1024 * 1024
"""Bytes that may wait for a client that reads too slowly; beyond it, it is disconnected, as Binance does."""
_HALF_A_FRAME = b'\x81\x7e\x01\x00{"stream":"btcusdt@trade","data":{"e":"trade","E":17951'
"""A frame that says it has 256 bytes, and fewer of them."""

Ending = Callable[[int, str], None]
"""Closes a connection in good order, with a WebSocket close code and reason."""


class Client:
    """One connection: what it listens to, and in which form it wants it."""

    def __init__(self, transport: asyncio.WriteTransport, form: Form, end: Ending) -> None:
        self._transport = transport
        self.form = form
        self.end = end
        self.streams: dict[str, None] = {}
        self.is_silent = False
        """Whether a fault keeps everything from it, pings and answers too."""

    @property
    def waiting(self) -> int:
        """Bytes that it has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def send(self, frames: bytes) -> bool:
        """Hands over whole frames without ever waiting; false where the client is gone or was too slow."""
        if self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > CLIENT_BUFFER:
            self._transport.abort()
            return False
        self._transport.write(frames)
        return True

    def cut(self, *, mid_frame: bool = False) -> None:
        """Ends the connection without a word; `mid_frame`: after half a message."""
        if mid_frame and not self._transport.is_closing():
            self._transport.write(_HALF_A_FRAME)
            self._transport.close()
        else:
            self._transport.abort()


class Outgoing(NamedTuple):
    """A message, or a run of trades, on its way to the listeners of a stream."""

    stream: str
    frames: Callable[[Form], bytes]
    numbers: tuple[int, int] | None
    """First and last trade id, or the minute (since 1970, twice) of a closed candle; none of anything else."""


Disturbance = Callable[[Outgoing], Iterable[tuple[float, Outgoing]]]
"""What leaves in the place of a message, each with the seconds until then."""


class Hub:
    """The subscriptions of all clients."""

    def __init__(self, sent: SentRecord) -> None:
        self._listeners: dict[str, dict[Client, None]] = {}
        self._sent = sent
        self._disturbances: list[tuple[Callable[[str], bool], Disturbance]] = []
        self._refusals: list[Callable[[str], bool]] = []
        self.clients: dict[Client, None] = {}
        self.version = 0
        """Counts the changes of what is wanted."""
        self.changed = asyncio.Event()
        """Set whenever what is wanted changes."""

    @property
    def streams(self) -> KeysView[str]:
        """The streams that someone listens to."""
        return self._listeners.keys()

    def subscribe(self, client: Client, streams: Iterable[str]) -> None:
        for stream in streams:
            client.streams[stream] = None
            self._listeners.setdefault(stream, {})[client] = None
        self._note_change()

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        streams = list(streams)
        for stream in streams:
            client.streams.pop(stream, None)
        self.mute(client, streams)

    def mute(self, client: Client, streams: Iterable[str]) -> None:
        """Sends these no longer to a client that still believes to be subscribed."""
        for stream in streams:
            listeners = self._listeners.get(stream, {})
            listeners.pop(client, None)
            if not listeners:
                self._listeners.pop(stream, None)
        self._note_change()

    def unmute(self, client: Client, streams: Iterable[str]) -> None:
        """The end of `mute`, for the streams to which the client is still subscribed."""
        if client in self.clients:
            self.subscribe(client, [stream for stream in streams if stream in client.streams])

    def publish(self, stream: str, frames: Callable[[Form], bytes], numbers: tuple[int, int] | None = None) -> None:
        """Sends to each listener of a stream the frames in its form, and records the `numbers` that left."""
        message = Outgoing(stream, frames, numbers)
        if not self._disturbances:
            self.deliver(message)
            return
        leaving = [(0.0, message)]
        for concerns, disturbance in self._disturbances:
            if concerns(stream):
                leaving = [(wait + more, later) for wait, one in leaving for more, later in disturbance(one)]
        for wait, one in leaving:
            if wait > 0:
                asyncio.get_running_loop().call_later(wait, self.deliver, one)
            else:
                self.deliver(one)

    def deliver(self, message: Outgoing) -> None:
        """Sends undisturbed."""
        made: dict[Form, bytes] = {}
        is_sent = False
        for client in list(self._listeners.get(message.stream, ())):
            form = client.form
            if form not in made:
                made[form] = message.frames(form)
            is_sent = client.send(made[form]) or is_sent
        if is_sent and message.numbers:
            name, _, kind = message.stream.partition("@")
            self._sent.add(name.upper(), kind, *message.numbers)

    def most_waiting(self) -> int:
        """The bytes that the slowest listener has not taken yet."""
        return max((client.waiting for listeners in self._listeners.values() for client in listeners), default=0)

    # --- faults

    @contextlib.contextmanager
    def disturbed(self, concerns: Callable[[str], bool], disturbance: Disturbance) -> Iterator[None]:
        """While it lasts, messages of the streams that it concerns leave as the disturbance says."""
        entry = (concerns, disturbance)
        self._disturbances.append(entry)
        try:
            yield
        finally:
            self._disturbances.remove(entry)

    def is_disturbed(self, stream: str) -> bool:
        """Whether messages of this stream must be published one by one."""
        return any(concerns(stream) for concerns, _ in self._disturbances)

    @contextlib.contextmanager
    def refusing(self, concerns: Callable[[str], bool]) -> Iterator[None]:
        """While it lasts, connections that ask for such a stream are refused."""
        self._refusals.append(concerns)
        try:
            yield
        finally:
            self._refusals.remove(concerns)

    def refuses(self, streams: Iterable[str]) -> bool:
        """Whether a fault refuses a connection to these streams. To none yet is one to any."""
        wanted = list(streams) or [""]
        return any(concerns(stream) for concerns in self._refusals for stream in wanted)

    def _note_change(self) -> None:
        self.version += 1
        self.changed.set()
