"""`crypto replay --serve` as it is typed."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from crypto_pipeline.cli import app
from shared.settings import Settings
from tests.crypto_pipeline.replay.conftest import FRAMES, NAME, archive
from tests.servers import MinioServer

Start = Callable[..., "subprocess.Popen[str]"]
SPAN = ("--from", "2026-08-06T10:00", "--to", "2026-08-06T11:10", "--symbol", NAME)


@pytest.fixture
def crypto(minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the command over the hour that is archived; no table is made yet."""
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    chosen: Settings = minio_server.settings
    archive(chosen, FRAMES)
    environment = {
        "CRYPTO_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "NO_COLOR": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]), "S3_ENDPOINT": chosen.s3_url, "S3_BUCKET": chosen.bucket,
        "S3_ACCESS_KEY": chosen.s3_access_key, "S3_SECRET_KEY": chosen.s3_secret_key.get_secret_value(),
    }  # fmt: skip

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-c", "from crypto_pipeline.cli import app; app()", "replay", "--serve"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, *arguments], env=environment, text=True, **pipes)

    return start


def test_it_says_what_it_plays_and_where_and_ends_with_the_range(crypto: Start) -> None:
    async def received(address: str) -> list[str]:
        async with aiohttp.ClientSession() as session:
            path = "/stream?streams=btcusdt@trade/btcusdt@kline_1m&timeUnit=MICROSECOND"
            async with session.ws_connect(address + path) as stream:
                return [(await stream.receive()).data for _ in FRAMES]

    with crypto(*SPAN, "--speed", "max", "--port", "0") as process:
        assert process.stdout
        address = process.stdout.readline().split()[1]
        assert process.stdout.readline().split()[1] == address.replace("ws://", "http://")
        texts = asyncio.run(asyncio.wait_for(received(address), 30))
        out, errors = process.communicate(timeout=30)
    assert [text.encode() for text in texts] == [body for _, body in FRAMES]
    assert (process.returncode, "The replay is over: 179 messages" in out) == (0, True)
    for line in (
        "BTCUSDT: 59 kline_1m, 120 trade",
        "179 messages: 179 as received; 0 made of bronze's rows.",
        "to 2026-08-06T11:10:00Z there is what was received from 2026-08-06T10:00:05.020000Z to",
    ):
        assert line in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*SPAN, "--speed", "0"), 2, "--speed 0 is none: write 1 as received, 10 for ten times as fast, or max."),
        ((*SPAN, "--exchange", "kraken"), 2, "leave --exchange kraken out"),
        ((*SPAN[:-1], "DOGEUSDT"), 1, "Nothing of DOGEUSDT is stored. There is: BTCUSDT."),
        ((*SPAN, "--port", "TAKEN"), 1, "choose another with --port"),
    ],
)
def test_what_cannot_be_is_a_sentence_with_the_cure(
    crypto: Start, arguments: tuple[str, ...], code: int, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with crypto(*(argument.replace("TAKEN", port) for argument in arguments)) as process:
            out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    assert words in " ".join(errors.replace("│", " ").split())
    assert "Traceback" not in errors


@pytest.mark.parametrize("option", [("--speed", "10"), ("--port", "1"), ("--now",)])
def test_what_is_of_serve_is_refused_without_it(option: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["replay", *SPAN, *option])
    assert (done.exit_code, "add that" in done.output) == (2, True)
