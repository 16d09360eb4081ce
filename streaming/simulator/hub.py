"""Who is subscribed to what, and the one place through which every message leaves."""

import asyncio
from collections.abc import Callable, Iterable

from streaming.simulator.messages import Form

CLIENT_BUFFER = 8 * 1024 * 1024
"""Bytes that may wait for a client that reads too slowly; beyond it, it is disconnected, as Binance does."""


class Client:
    """One connection: what it listens to, and in which form it wants it."""

    def __init__(self, transport: asyncio.WriteTransport, form: Form) -> None:
        self._transport = transport
        self.form = form
        self.streams: dict[str, None] = {}

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


class Hub:
    """The subscriptions of all clients."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Client, None]] = {}
        self.version = 0
        """Counts the changes of what is wanted."""
        self.changed = asyncio.Event()
        """Set whenever what is wanted changes."""

    @property
    def streams(self) -> Iterable[str]:
        """The streams that someone listens to."""
        return self._listeners.keys()

    def subscribe(self, client: Client, streams: Iterable[str]) -> None:
        for stream in streams:
            client.streams[stream] = None
            self._listeners.setdefault(stream, {})[client] = None
        self._note_change()

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        for stream in list(streams):
            client.streams.pop(stream, None)
            listeners = self._listeners.get(stream, {})
            listeners.pop(client, None)
            if not listeners:
                self._listeners.pop(stream, None)
        self._note_change()

    def publish(self, stream: str, frames: Callable[[Form], bytes]) -> bool:
        """Sends to each listener of a stream the frames in its form; true where at least one took them."""
        made: dict[Form, bytes] = {}
        is_sent = False
        for client in list(self._listeners.get(stream, ())):
            form = client.form
            if form not in made:
                made[form] = frames(form)
            is_sent = client.send(made[form]) or is_sent
        return is_sent

    def most_waiting(self) -> int:
        """The bytes that the slowest listener has not taken yet."""
        return max((client.waiting for listeners in self._listeners.values() for client in listeners), default=0)

    def _note_change(self) -> None:
        self.version += 1
        self.changed.set()
