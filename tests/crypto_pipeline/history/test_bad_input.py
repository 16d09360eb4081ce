"""A file to import that is none: one sentence, little memory, and nothing written anywhere."""

import io
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from crypto_pipeline.history.archives import ArchiveError, Kind
from tests.bad_input import DEEP, TEXTS, for_a_while, no_more_memory
from tests.crypto_pipeline.history.test_archives import DAY, TRADE, opened

pytestmark = pytest.mark.bad_input

NAME = "mine.csv"
KLINE = f"{DAY},1,2,0.5,1.5,10,{DAY + 59_999_999},15,3,1,1.5,0"
AGG_TRADE = f"3,2.5,4.0,10,12,{DAY},False,True"
LINES: dict[Kind, str] = {"trades": TRADE, "agg-trades": AGG_TRADE, "klines": KLINE}


def read(path: Path, kind: Kind = "trades") -> int:
    """How many rows it gives, looked at as `crypto import` looks at them."""
    rows = 0
    for part in opened(path, kind).parts():
        rows += part.rows.num_rows
        for name in ("event_time", "open_time"):
            if name in part.rows.column_names:
                part.rows[name].to_pylist()
    return rows


def refusal(path: Path, kind: Kind) -> str:
    """Why it is not read; empty where it is."""
    try:
        read(path, kind)
    except ArchiveError as error:
        return str(error)
    return ""


def packed(path: Path, content: bytes, compression: int = zipfile.ZIP_DEFLATED, name: str = NAME) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, content)
    return path


@pytest.mark.parametrize("content", [b"\0", b"\n", b"7"])
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path: Path, content: bytes) -> None:
    path = packed(tmp_path / "mine.zip", content * 300_000_000)
    with no_more_memory(100), pytest.raises(ArchiveError, match="made to fill the disk"):
        opened(path)


def test_a_file_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = packed(tmp_path / "mine.zip", f"{TRADE}\n".encode() * 1_000_000)
    whole = path.read_bytes()
    place = whole.rindex(b"PK\1\2") + 24
    path.write_bytes(whole[:place] + struct.pack("<I", 100) + whole[place + 4 :])
    with no_more_memory(100), pytest.raises(ArchiveError):
        read(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_would_unpack_whole_is_refused_before_it_is(tmp_path: Path, compression: int) -> None:
    path = packed(tmp_path / "mine.zip", f"{TRADE}\n".encode(), compression)
    with pytest.raises(ArchiveError, match="is packed as Binance packs nothing"):
        opened(path)


def test_what_lies_beside_the_csv_is_never_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "mine.zip", f"{TRADE}\n".encode())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as file:
        file.writestr("bomb", b"\0" * 100_000_000)
    with no_more_memory(50):
        assert read(path) == 1


@pytest.mark.parametrize("name", ["../../a.csv", "/a.csv", "C:\\a.csv", "..\\a.csv", "a\0b.csv", "x/../../a.csv"])
def test_a_name_in_a_zip_leads_to_no_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    path = packed(folder / "mine.zip", f"{TRADE}\n".encode(), name=name)
    with suppress(ArchiveError):
        assert read(path) == 1
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]


def test_a_checksum_file_is_not_read_whole(tmp_path: Path) -> None:
    path = packed(tmp_path / "mine.zip", f"{TRADE}\n".encode())
    with path.with_name("mine.zip.CHECKSUM").open("wb") as endless:
        endless.truncate(5_000_000_000)
    with no_more_memory(50), pytest.raises(ArchiveError, match="is not what"):
        opened(path)


@pytest.mark.parametrize("at", [-1, 10**17, 2**63 - 1, 2**63, 10**400])
def test_a_time_that_is_none_refuses_the_file(tmp_path: Path, at: int) -> None:
    for kind, line in LINES.items():
        path = tmp_path / f"{kind}.csv"
        path.write_text(f"{line.replace(str(DAY + 5) if kind == 'trades' else str(DAY), str(at))}\n")
        with pytest.raises(ArchiveError):
            read(path, kind)


def test_whatever_a_file_holds_it_is_read_or_refused_in_a_sentence(tmp_path: Path, fuzz_seconds: float) -> None:
    fields = TEXTS | st.sampled_from(["1", "2.5", "True", str(DAY), '"', DEEP[:5000], "9" * 39, "1e5", "-0", " 1"])

    def text(field: str | bytes) -> bytes:
        return field.encode(errors="replace") if isinstance(field, str) else field

    def lines(kind: Kind) -> st.SearchStrategy[bytes]:
        right = [one.encode() for one in LINES[kind].split(",")]

        def changed(made: tuple[int, str | bytes]) -> bytes:
            place, field = made
            return b",".join([*right[:place], text(field), *right[place + 1 :]])

        wrong = st.tuples(st.integers(0, len(right) - 1), fields).map(changed)
        return st.lists(wrong | st.just(b",".join(right)) | st.binary(max_size=40), max_size=4).map(b"\n".join)

    files = st.sampled_from(sorted(LINES)).flatmap(lambda kind: st.tuples(st.just(kind), lines(kind), st.booleans()))

    def tried(file: tuple[Kind, bytes, bool]) -> None:
        kind, content, is_zip = file
        path = tmp_path / ("mine.zip" if is_zip else "mine.csv")
        path.unlink(missing_ok=True)
        if is_zip:
            packed(path, content)
        else:
            path.write_bytes(content)
        assert len(refusal(path, kind).splitlines()) <= 1

    with no_more_memory():
        for_a_while(fuzz_seconds, files, tried)


def test_whatever_a_zip_is_it_is_read_or_refused(tmp_path: Path, fuzz_seconds: float) -> None:
    whole = packed(tmp_path / "made.zip", f"{TRADE}\n".encode() * 3).read_bytes()

    def damaged(made: tuple[int, bytes]) -> bytes:
        place, said = made
        return whole[:place] + said + whole[place + len(said) :]

    def tried(content: bytes) -> None:
        path = tmp_path / "mine.zip"
        path.write_bytes(content)
        with suppress(ArchiveError):
            read(path)

    changes = st.tuples(st.integers(0, len(whole)), st.binary(max_size=8))
    files = st.binary(max_size=100) | changes.map(damaged)
    with no_more_memory():
        for_a_while(fuzz_seconds, files, tried)


def test_a_zip_in_which_files_lie_over_each_other_is_read_in_no_time(tmp_path: Path) -> None:
    """Each of its entries is the same megabyte of zeros: looked at one after the other they are terabytes."""
    path = tmp_path / "mine.zip"
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", b"\0" * 100_000_000)
        file.writestr(NAME, f"{TRADE}\n")
    whole = inner.getvalue()
    end = whole.rindex(b"PK\5\6")
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 4)
    entry, count = whole[first:second], 20_000
    central = entry * count + whole[second:end]
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count + 1, count + 1, len(central), first, 0)
    path.write_bytes(whole[:first] + central + tail)
    with no_more_memory(100):
        assert read(path) == 1
