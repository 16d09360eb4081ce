"""How many messages a second `crypto replay --serve --speed max` plays from the raw archive to a local reader.

    python -m benchmarks.replay                       # a million trades and books of two symbols in an hour
    python -m benchmarks.replay --messages 3000000

It starts a MinIO of its own and puts an hour of frames into the raw archive in it, as streaming does. The command runs
in its own process; the readers in this one. The first takes the socket's bytes and cuts them into frames, and no more,
so that what is measured is the replay; aiohttp's client then says what a bot in Python can take in. A reader's time is
from the handshake, without the moment that a replay waits for further subscriptions, to the last message.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
import zstandard

from crypto_pipeline.replay.player import SETTLE_SECONDS
from deployment.paths import child_environment
from streaming.archive import HOUR, LEVEL, encoded, place
from tests.servers import MinioServer

START = int(datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()) * 1_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
FRAME_LINES = 4_000
STREAMS = "/".join(f"{symbol.lower()}@{kind}" for symbol in SYMBOLS for kind in ("trade", "depth5"))


def body(symbol: str, number: int, at: int) -> bytes:
    """Nine trades, then a book."""
    if number % 10:
        data: dict[str, object] = {
            "e": "trade", "E": at, "s": symbol, "t": 3_735_683_259 + number, "p": f"{61837 + number % 97}.63000000",
            "q": f"0.{number % 99_999:05}000", "T": at - 900, "m": number % 3 == 0, "M": True,
        }  # fmt: skip
        return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":")).encode()
    sides = {side: [[f"{61837 + level}.63000000", "0.51200000"] for level in range(5)] for side in ("bids", "asks")}
    data = {"lastUpdateId": 50_093_239_218 + number, **sides}
    return json.dumps({"stream": f"{symbol.lower()}@depth5", "data": data}, separators=(",", ":")).encode()


def archived(server: MinioServer, messages: int) -> int:
    """An hour of frames in the bucket; gives their bytes."""
    each, size = messages // len(SYMBOLS), 0
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    for symbol in SYMBOLS:
        file = bytearray()
        for begin in range(0, each, FRAME_LINES):
            lines = []
            for number in range(begin, min(begin + FRAME_LINES, each)):
                at = START + number * HOUR // each
                frame = body(symbol, number, at)
                size += len(frame)
                lines.append(encoded(frame, at, "binance-1"))
            file += compressor.compress(b"".join(lines))
        key = f"raw/{place('binance', symbol, START // HOUR)}/100000-0.jsonl.zst"
        server.client.put_object(Bucket=server.settings.bucket, Key=key, Body=bytes(file))
    return size


async def cut(address: str, path: str, messages: int) -> float:
    """Takes in bytes and cuts them into frames; gives the seconds."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    began, rest, found = time.perf_counter(), b"", 0
    while found < messages:
        rest += await reader.read(1 << 20)
        at, end = 0, len(rest)
        while at + 4 <= end:
            length, head = rest[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(rest[at + 2 : at + 4]), 4
            if at + head + length > end:
                break
            found += rest[at] == 0x81
            at += head + length
        rest = rest[at:]
    writer.close()
    return time.perf_counter() - began


async def aiohttp_client(address: str, path: str, messages: int) -> float:
    """aiohttp's client, which gives each message as text."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{address}{path}") as stream:
        began = time.perf_counter()
        for _ in range(messages):
            await stream.receive_str()
        return time.perf_counter() - began


@contextmanager
def replaying(server: MinioServer, home: Path) -> Iterator[str]:
    """The command in its own process; gives the address."""
    chosen = server.settings
    environment = child_environment(
        CRYPTO_HOME=str(home),
        S3_ENDPOINT=chosen.s3_url,
        S3_BUCKET=chosen.bucket,
        S3_ACCESS_KEY=chosen.s3_access_key,
        S3_SECRET_KEY=chosen.s3_secret_key.get_secret_value(),
    )
    span = ("--from", "2026-11-20T10:00", "--to", "2026-11-20T11:00")
    command = [sys.executable, "-u", "-c", "from crypto_pipeline.cli import app; app()", "replay", "--serve", *span]
    with subprocess.Popen(
        [*command, "--speed", "max", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout  # noqa: S101
            yield next(line.split()[1].removeprefix("ws://") for line in process.stdout if line.startswith("WebSocket"))
        finally:
            process.terminate()


def main(
    messages: Annotated[int, typer.Option(help="In the hour.")] = 1_000_000,
    times: Annotated[int, typer.Option(help="How often each is run.")] = 3,
) -> None:
    """Print what was measured."""
    readers: dict[str, tuple[Callable[[str, str, int], Awaitable[float]], str]] = {
        "bytes cut into frames, microseconds": (cut, f"/stream?streams={STREAMS}&timeUnit=MICROSECOND"),
        "bytes cut into frames, milliseconds": (cut, f"/stream?streams={STREAMS}"),
        "aiohttp's client, milliseconds": (aiohttp_client, f"/stream?streams={STREAMS}"),
    }
    with tempfile.TemporaryDirectory() as place_:
        folder = Path(place_)
        server = MinioServer(folder / "minio")
        server.start()
        try:
            size = archived(server, messages)
            typer.echo(
                f"{messages:,} messages, {size / 1e6:,.0f} MB; messages a second, the best and the worst of {times}"
            )
            for name, (read, path) in readers.items():
                rates = []
                for _ in range(times):
                    with replaying(server, folder) as address:
                        took = asyncio.run(read(address, path, messages)) - SETTLE_SECONDS  # type: ignore[arg-type]
                    rates.append(messages / took)
                typer.echo(f"{name:<36} {max(rates):>9,.0f} {min(rates):>9,.0f}")
        finally:
            server.stop()


if __name__ == "__main__":
    typer.run(main)
