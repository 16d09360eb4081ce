"""The queue on disk: order, crashes at any byte, and the end of the room."""

import errno
import os
import shutil
import subprocess
import sys
from collections import deque
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import spool as module
from streaming.spool import Record, Segment, Spool, SpoolError, SpoolFull, decoded, encoded

LIMIT = 100 * 1024 * 1024
records = st.builds(
    Record,
    st.text(max_size=20),
    st.binary(max_size=20),
    st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=2).map(tuple),
)


def record(number: int, size: int = 10) -> Record:
    return Record("topic", b"key", b"%0*d" % (size, number), ())


def numbers(taken: list[tuple[Record, Segment]]) -> list[int]:
    return [int(one.value) for one, _ in taken]


def all_of(spool: Spool) -> list[tuple[Record, Segment]]:
    found = []
    while taken := spool.take():
        found += taken
    return found


def fill(spool: Spool, force: bool = False) -> None:
    for number in count(spool.messages):
        spool.append(record(number, size=100), force=force)


@given(st.lists(records, max_size=8))
def test_what_is_written_is_read_again(written: list[Record]) -> None:
    assert [one for one, _ in decoded(b"".join(encoded(one) for one in written))] == written


@given(st.lists(records, min_size=1, max_size=8), st.data())
def test_wherever_a_file_is_cut_the_whole_records_before_it_are_read(
    written: list[Record], data: st.DataObject
) -> None:
    pieces = [encoded(one) for one in written]
    cut = data.draw(st.integers(0, sum(map(len, pieces))))
    ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
    found = list(decoded(b"".join(pieces)[:cut]))
    assert [one for one, _ in found] == [one for one, end in zip(written, ends, strict=True) if end <= cut]
    assert [end for _, end in found] == [end for end in ends if end <= cut]


@given(records, st.data())
def test_a_changed_byte_is_never_believed(written: Record, data: st.DataObject) -> None:
    whole = bytearray(encoded(written))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert [one for one, _ in decoded(bytes(whole))] == []


@given(st.integers(0, 5000))
def test_zeros_that_a_crash_left_behind_are_no_record(count: int) -> None:
    assert list(decoded(bytes(count))) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["append", "taken", "take", "done", "sync", "reopen"]), max_size=80))
def test_whatever_happens_nothing_is_missing_and_order_is_kept(steps: list[str]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_BYTES", 120)
        patch.setattr(module, "READ_BYTES", 70)
        spool = Spool(Path(folder), LIMIT, 0)
        waiting: deque[int] = deque()
        in_flight: deque[tuple[int, Segment]] = deque()
        for number, step in enumerate(steps):
            if step == "append" or (step == "taken" and waiting):
                spool.append(record(number))
                waiting.append(number)
            elif step == "taken":
                in_flight.append((number, spool.append(record(number), taken=True)))
            elif step == "take":
                for one, segment in spool.take():
                    assert int(one.value) == waiting.popleft()
                    in_flight.append((int(one.value), segment))
            elif step == "done" and in_flight:
                spool.done(in_flight.popleft()[1])
            elif step == "sync":
                spool.sync()
            elif step == "reopen":
                spool.sync()
                spool.close()
                spool = Spool(Path(folder), LIMIT, 0)
                expected = [one for one, _ in in_flight] + list(waiting)
                in_flight.clear()
                found = numbers(all_of(spool))
                assert found[len(found) - len(expected) :] == expected
                assert found == sorted(found)
                spool.rewind()
                waiting = deque(found)
            assert spool.pending == len(waiting)
            assert spool.messages == len(waiting) + len(in_flight)
        assert numbers(all_of(spool)) == list(waiting)
        spool.close()


def test_a_file_goes_when_all_of_it_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1000)
    spool = Spool(tmp_path, LIMIT, 0)
    for number in range(200):
        spool.append(record(number))
    spool.sync()
    files = len(list(tmp_path.glob("*.*")))
    assert files > 5
    for taken, segment in all_of(spool):
        spool.done(segment)
        assert len(list(tmp_path.glob("*.*"))) <= files, taken
    assert not list(tmp_path.glob("*.*"))
    assert (spool.bytes, spool.messages, spool.pending) == (0, 0, 0)
    spool.append(record(7))
    assert numbers(spool.take()) == [7]
    spool.close()


def test_a_full_spool_takes_in_nothing_until_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000, 0)
    with pytest.raises(SpoolFull, match="STREAM_SPOOL_MB"):
        fill(spool)
    assert 800 < spool.bytes <= 1000
    for _, segment in all_of(spool):
        spool.done(segment)
    spool.append(record(0))
    spool.close()


def test_space_on_the_disk_is_left_for_others(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LIMIT, free_bytes=2**60)
    spool.append(record(1))
    with pytest.raises(SpoolFull, match="would stay free"):
        spool.sync()
    spool.sync(force=True)
    assert numbers(all_of(spool)) == [1]
    spool.close()


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], check=False).returncode
    ):
        pytest.skip("only root can make a small disk")
    spool = Spool(disk, LIMIT, 0)
    try:
        for force in (False, True):  # by what is free, and by what the kernel says
            with pytest.raises(SpoolFull, match="is full"):
                fill(spool, force)
            with pytest.raises(SpoolFull, match="is full"):
                spool.sync(force)
        accepted = spool.messages
        assert accepted > 3000
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        spool.append(record(accepted))
        spool.sync()
        assert numbers(all_of(spool)) == list(range(accepted + 1))
    finally:
        spool.close()
        subprocess.run(["umount", disk], check=True)


def written_in_segments(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int = 60) -> list[Path]:
    """The files of a spool of so many records, some dozen in each, that was closed."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 500)
    spool = Spool(folder, LIMIT, 0)
    for number in range(count):
        spool.append(record(number))
    spool.sync()
    spool.close()
    return sorted(folder.glob("*.*"))


def crashed(folder: Path) -> Path:
    """The folder of a spool of sixty records that nobody closed, as a crash leaves it."""
    spool = Spool(folder / "alive", LIMIT, 0)
    for number in range(60):
        spool.append(record(number))
    spool.sync()
    shutil.copytree(folder / "alive", folder / "left")
    spool.close()
    return folder / "left"


def change(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 1
    path.write_bytes(content)


def acknowledge(spool: Spool, taken: list[tuple[Record, Segment]]) -> None:
    for _, segment in taken:
        spool.done(segment)
    assert (spool.bytes, spool.messages, spool.pending) == (0, 0, 0)


def test_a_damaged_message_is_told_once_and_all_around_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = written_in_segments(tmp_path, monkeypatch)[0]
    size = len(encoded(record(0)))
    change(first, 2 * size + 20, 5 * size + 20)
    kept = first.read_bytes()
    spool = Spool(tmp_path, LIMIT, 0)
    everything = [number for number in range(60) if number not in (2, 5)]
    taken = all_of(spool)
    assert numbers(taken) == everything
    assert [(damage.messages, len(damage.part)) for damage in spool.damages] == [(2, size), (0, size)]
    assert "up to 2 messages of it are lost" in caplog.text
    spool.damages.clear()
    spool.rewind()
    taken = all_of(spool)
    assert numbers(taken) == everything, "what was not acknowledged is given out again"
    assert not [damage for damage in spool.damages if damage.messages]
    acknowledge(spool, taken)
    [aside] = tmp_path.glob("*.*")
    assert aside.suffix == ".damaged"
    assert aside.read_bytes() == kept
    assert spool.damages[0].file == aside.name
    spool.close()
    assert Spool(tmp_path, LIMIT, 0).messages == 0


def test_damage_in_the_file_that_was_being_written_costs_nothing_behind_it(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    [path] = folder.glob("*.open")
    change(path, 30 * len(encoded(record(0))) + 20)
    path.write_bytes(path.read_bytes() + b"torn")
    spool = Spool(folder, LIMIT, 0)
    taken = all_of(spool)
    assert numbers(taken) == [*range(30), *range(31, 60)]
    assert [damage.messages for damage in spool.damages] == [1]
    acknowledge(spool, taken)
    spool.close()


@pytest.mark.parametrize("left", [0, 7])
def test_messages_that_a_file_no_longer_has_are_told(
    left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written_in_segments(tmp_path, monkeypatch)[0]
    spool = Spool(tmp_path, LIMIT, 0)
    in_first = spool._segments[0].messages
    spool.close()
    os.truncate(first, left * len(encoded(record(0))))
    spool = Spool(tmp_path, LIMIT, 0)
    taken = all_of(spool)
    assert numbers(taken) == [*range(left), *range(in_first, 60)]
    assert [damage.messages for damage in spool.damages] == [in_first - left]
    acknowledge(spool, taken)
    spool.close()


def test_of_a_disk_that_is_bad_in_one_place_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encoded(record(0)))
    monkeypatch.setattr(module, "PAGE_BYTES", size)
    first, *others = written_in_segments(tmp_path, monkeypatch)
    whole = Path.open

    class Bad(BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            place = self.tell()
            if count is not None and place < 4 * size and place + count > 3 * size:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(count)

    content = first.read_bytes()
    monkeypatch.setattr(
        Path, "open", lambda path, *mode, **more: Bad(content) if path == first else whole(path, *mode, **more)
    )
    spool = Spool(tmp_path, LIMIT, 0)
    assert others
    assert numbers(all_of(spool)) == [number for number in range(60) if number != 3]
    assert [damage.messages for damage in spool.damages] == [1]
    spool.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 120)), min_size=1, max_size=3), st.booleans())
def test_whatever_is_overwritten_every_whole_message_is_read_and_the_others_are_told(
    damages: list[tuple[int, int]], has_crashed: bool
) -> None:
    with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "READ_BYTES", 70)
        folder = Path(home)
        if has_crashed:
            folder = crashed(folder)
        else:
            written_in_segments(folder, patch)
        size = len(encoded(record(0)))
        files = sorted(folder.glob("*.*"))
        intact = set(range(60))
        content = bytearray(b"".join(file.read_bytes() for file in files))
        for place, length in damages:
            begin = place % len(content)
            end = min(begin + length, len(content))
            content[begin:end] = b"\xff" * (end - begin)
            intact -= set(range(begin // size, (end - 1) // size + 1))
        for file in files:
            file.write_bytes(content[: file.stat().st_size])
            del content[: file.stat().st_size]
        spool = Spool(folder, LIMIT, 0)
        taken = all_of(spool)
        assert set(numbers(taken)) >= intact
        assert numbers(taken) == sorted(numbers(taken))
        lost = sum(damage.messages for damage in spool.damages)
        if has_crashed:  # the end of the file that was being written is nobody's loss
            assert lost + len(taken) >= max(numbers(taken), default=-1) + 1
        else:
            assert lost + len(taken) == 60
        for _, segment in taken:
            spool.done(segment)
        assert (spool.messages, spool.pending) == (0, 0)
        spool.close()


def test_a_spool_has_one_user(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LIMIT, 0)
    with pytest.raises(SpoolError, match="end it first"):
        Spool(tmp_path, LIMIT, 0)
    spool.close()
    Spool(tmp_path, LIMIT, 0).close()


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"cannot be used .*make it writable"):
        Spool(tmp_path / "file" / "spool", 1000)


KILLED = """
import sys, pathlib
from streaming.spool import Record, Spool
spool = Spool(pathlib.Path(sys.argv[1]), 10**9, 0)
for number in range(10**9):
    spool.append(Record("topic", b"key", b"%0100d" % number, ()))
    if number % 1000 == 999:
        spool.sync()
        print(number, flush=True)
"""


def test_what_was_synced_survives_kill_9(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    synced = [int(child.stdout.readline()) for _ in range(30)][-1]
    child.kill()
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    spool = Spool(tmp_path, 10**9, 0)
    found = numbers(all_of(spool))
    assert found == list(range(len(found)))
    assert found[-1] >= max([synced, *map(int, rest)])
    spool.close()
