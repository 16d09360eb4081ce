"""What befalls the machine under the streaming service, as it runs, between a simulated exchange and a real Kafka."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.disasters import Clock, Disk, clock, disk
from tests.servers import KafkaServer
from tests.streaming.test_worker import SYMBOLS, Scene

DISK_MEGABYTES = 256
SPOOLED = 300
"""Messages that come while the disk is full."""
NEWS = 4
"""States of a candle that come after the clock was set, of each symbol one in two seconds."""


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    """For Kafka."""
    with disk(DISK_MEGABYTES) as made:
        if not isinstance(made, Disk):
            pytest.skip(made)
        yield made


@pytest.fixture
def other_clock() -> Iterator[Clock]:
    """For the service alone."""
    with clock() as made:
        if not isinstance(made, Clock):
            pytest.skip(made)
        yield made


def started(scene: Scene, until: Callable[..., None]) -> "subprocess.Popen[bytes]":
    """The service, streaming."""
    until(lambda: scene.simulated("/api/v3/time"), 60)
    process = scene.run("streaming.service")
    until(lambda: all(scene.trades(symbol) for symbol in SYMBOLS), 90)
    return process


def ended(process: "subprocess.Popen[bytes]") -> bool:
    """The service ends in good order."""
    process.send_signal(signal.SIGTERM)
    return process.wait(60) == 0


def test_while_kafkas_disk_is_full_messages_wait_on_ours_and_kafka_comes_back_by_being_started(
    small_disk: Disk, tmp_path: Path, until: Callable[..., None]
) -> None:
    kafka = KafkaServer(small_disk.folder / "kafka")
    kafka.start()
    scene = Scene(tmp_path, kafka)
    try:
        process = started(scene, until)
        small_disk.fill()

        def spooled() -> bool:
            small_disk.fill()  # Kafka gives back what it has reserved
            return scene.metric("spool_messages") > SPOOLED

        until(spooled, 120)
        until(kafka.has_ended, 60)
        kafka.kill()  # which only lets go of it
        small_disk.free()
        kafka.start()
        until(lambda: not scene.metric("spool_messages"), 90)
        for symbol in SYMBOLS:
            until(lambda symbol=symbol: scene.is_whole(symbol), 90)
            assert scene.gaps(symbol, "trade") == scene.gaps(symbol, "ticker") == [], "nothing was missed"
        assert ended(process)
    finally:
        scene.close()
        kafka.kill()


def test_a_clock_of_ours_that_is_set_makes_nothing_missing(
    other_clock: Clock, tmp_path: Path, until: Callable[..., None]
) -> None:
    kafka = KafkaServer(tmp_path / "kafka")
    kafka.start()
    scene = Scene(tmp_path, kafka)
    scene.environment |= other_clock.environment
    try:
        process = started(scene, until)
        assert other_clock.is_of(psutil.Process(process.pid))
        for ahead in (90, -90, 0):
            wanted = {symbol: len(scene.events(symbol, "kline_1m")) + NEWS for symbol in SYMBOLS}
            other_clock.set(ahead)
            for symbol, count in wanted.items():
                until(lambda symbol=symbol, count=count: len(scene.events(symbol, "kline_1m")) >= count, 90)
        for symbol in SYMBOLS:
            until(lambda symbol=symbol: scene.is_whole(symbol), 60)
            assert scene.gaps(symbol, "kline_1m") == scene.gaps(symbol, "trade") == []
            assert {kline["source"] for kline in scene.events(symbol, "kline_1m")} == {"websocket"}
        assert ended(process)
    finally:
        scene.close()
        kafka.kill()
