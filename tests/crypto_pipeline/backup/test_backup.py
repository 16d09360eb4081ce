"""A backup by a real object store and a real PostgreSQL, and the deployment that is restored from it."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from alerts import schema
from crypto_pipeline.backup import manifest, taking
from crypto_pipeline.backup.manifest import BackupError
from crypto_pipeline.backup.place import Folder, Place, PlaceError, Store, place_of
from crypto_pipeline.backup.restoring import restore, stores
from deployment import start
from deployment.stop import stop
from deployment.supervise import Supervisor
from serving.migrate import migrate
from shared.markers import BEGUN, KAFKA_LEFT
from shared.settings import Settings
from streaming.ledger import Ledger
from streaming.object_store import s3_client
from tests.crypto_pipeline.hudi_tables import FILE, put
from tests.servers import MinioServer, PostgresServer, free_ports
from tests.system import wait_for

NAME = "%Y%m%dT%H%M%SZ"
TIMELINE = "bronze/trades/.hoodie/timeline"
DATA = "bronze/trades/date=2026-11-20/hour=08"


class Quiet:
    """Nobody is told; it counts what is copied."""

    def __init__(self) -> None:
        self.copied = 0

    def says(self, line: str) -> None:
        pass

    def expects(self, size: int) -> None:
        pass

    def advance(self, size: int) -> None:
        self.copied += size


class Killed(BaseException):
    """What ends a backup in its midst."""


class Killing(Folder):
    """A folder that takes so many files, and then all ends."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(root)
        self.left = after

    def put(self, name: str, path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed
        super().put(name, path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the deployment that is backed up."""
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRYPTO_MODE", "demo")
    return tmp_path / "home"


@pytest.fixture
def here(minio_server: MinioServer, postgres_server: PostgresServer, home: Path) -> Iterator[Settings]:
    """A deployment with a table, a raw archive, two databases, and what streaming remembers."""
    minio_server.clear()
    Ledger(home / "var" / "demo" / "streaming" / "ledger.sqlite").close()
    write(minio_server, 10, 11)
    put(minio_server, "bronze/trades/.hoodie/hoodie.properties", b"hoodie.table.name=trades")
    put(minio_server, "raw/binance/a.zst", b"frames")
    put(minio_server, "staging/half.parquet", b"half")
    ours, theirs = minio_server.settings, postgres_server.settings
    [kafka] = free_ports(1)
    made = theirs.model_copy(
        update={
            "mode": "demo",
            "kafka_port": kafka,
            "minio_port": ours.minio_port,
            "s3_bucket": ours.s3_bucket,
            "s3_access_key": ours.s3_access_key,
            "s3_secret_key": ours.s3_secret_key,
        }
    )
    schema.upgrade(made)
    migrate(made)
    with login(made, "dagster") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (id int)")
        connection.execute("TRUNCATE runs")
        connection.execute("INSERT INTO runs SELECT generate_series(1, 1000)")
    yield made
    with login(made, "dagster") as connection:
        connection.execute("DROP TABLE runs")


def login(settings: Settings, database: str) -> psycopg.Connection:
    return psycopg.connect(settings.superuser_url(database))


def write(server: MinioServer, asked: int, finished: int | None) -> None:
    """A write of the table; one that is under way has its files already."""
    put(server, f"{DATA}/.{FILE}_{asked}.log.1_0-86-140", f"rows of {asked}".encode())
    put(server, f"{TIMELINE}/{asked}.deltacommit.requested", b"{}")
    if finished:
        put(server, f"{TIMELINE}/{asked}_{finished}.deltacommit", b"{}")


def back_up(settings: Settings, place: Place, *, keep: int = 7) -> manifest.Manifest:
    return taking.back_up(settings, place, Quiet(), keep=keep, wait=0)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, with ports of its own."""
    other = Path(tempfile.mkdtemp(prefix="crypto-lakehouse-test-"))  # pytest's are closed to PostgreSQL's user
    other.chmod(0o755)
    monkeypatch.setenv("CRYPTO_HOME", str(other))
    monkeypatch.setenv("S3_BUCKET", "another")
    ports = free_ports(3)
    for name, port in zip(("MINIO_PORT", "MINIO_CONSOLE_PORT", "POSTGRES_PORT"), ports, strict=True):
        monkeypatch.setenv(name, str(port))
    yield other
    stop(other / "var" / "demo", lambda _line: None)
    shutil.rmtree(other)


def stored(settings: Settings) -> dict[str, bytes]:
    """Every object of a bucket."""
    client = s3_client(settings)
    names = [one["Key"] for one in client.list_objects_v2(Bucket=settings.bucket).get("Contents", [])]
    return {name: client.get_object(Bucket=settings.bucket, Key=name)["Body"].read() for name in names}


class Stops(Quiet):
    """Ends a restore in its midst."""

    def advance(self, size: int) -> None:
        super().advance(size)
        if self.copied > 20:
            raise Killed


def test_elsewhere_there_is_what_was_here_though_the_restore_was_killed(
    here: Settings, minio_server: MinioServer, tmp_path: Path, elsewhere: Path
) -> None:
    write(minio_server, 20, None)
    place = Folder(tmp_path / "place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(tmp_path / "home"))
        made = back_up(here, place)
    assert "Kafka does not answer" in made.warnings[0]
    with pytest.raises(Killed):
        restore(place, "", Stops())
    state = elsewhere / "var" / "demo"
    with pytest.raises(start.DeployError, match="run the same `crypto restore` again"):
        start._start(Settings.load(), Supervisor(state))
    there, found, _notes = restore(place, "", Quiet())
    assert found == made
    # what was under way, and what was staged, is as if it had never begun
    unfinished = ("/20.", "_20.", "staging/")
    expected = {name: body for name, body in stored(here).items() if not any(part in name for part in unfinished)}
    with stores(there):
        assert stored(there) == expected
        with login(there, "dagster") as connection:
            assert connection.execute("SELECT count(*), sum(id) FROM runs").fetchone() == (1000, 500500)
    assert there.state == state
    assert (state / "streaming" / "ledger.sqlite").is_file()
    assert (state / KAFKA_LEFT).read_text() == "{}"
    assert not (state / BEGUN).exists()
    with pytest.raises(BackupError, match="is restored into an empty deployment"):
        restore(place, "", Quiet())


def test_what_is_there_already_is_not_copied_again(here: Settings, minio_server: MinioServer, tmp_path: Path) -> None:
    place = Folder(tmp_path / "place")
    first = back_up(here, place)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "place" / "objects").rglob("*") if path.is_file()}
    write(minio_server, 30, 31)
    second = back_up(here, place)
    new = {entry.name for entry in second.objects} - {entry.name for entry in first.objects}
    assert len(new) == 3
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_one_that_was_killed_is_refused_and_goes_on(here: Settings, tmp_path: Path) -> None:
    root = tmp_path / "place"
    with pytest.raises(Killed):
        back_up(here, Killing(root, after=5))
    copied = len(Folder(root).names(""))
    assert copied == 5
    with pytest.raises(BackupError, match="was never finished: run `crypto backup"):
        restore(Folder(root), "", Quiet())
    made = back_up(here, Folder(root))
    assert manifest.newest(Folder(root)) == made


def test_a_backup_of_which_something_is_lost_or_damaged_is_refused(
    here: Settings, tmp_path: Path, elsewhere: Path
) -> None:
    root = tmp_path / "place"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(tmp_path / "home"))
        back_up(here, Folder(root))
    [raw] = (root / "objects" / "raw").rglob("a.zst.*")
    raw.write_bytes(b"fRames")
    with pytest.raises(BackupError, match="is not what was copied: its checksum is another"):
        restore(Folder(root), "", Quiet())
    raw.unlink()
    with pytest.raises(BackupError, match=r"is not whole: 1 of its files .* raw/binance/a.zst"):
        restore(Folder(root), "", Quiet())


def test_only_so_many_backups_stay_and_what_they_need(
    here: Settings, minio_server: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Folder(tmp_path / "place")
    back_up(here, place)
    put(minio_server, "raw/binance/a.zst", b"other frames")
    last = back_up(here, place, keep=1)
    assert manifest.made(place) == [last.made_at]
    assert set(place.names("objects/")) | set(place.names("files/")) == last.names()


def test_a_damaged_manifest_is_told_and_stops_no_further_backup(here: Settings, tmp_path: Path) -> None:
    place = Folder(tmp_path / "place")
    broken = back_up(here, place)
    (tmp_path / "place" / "manifests" / f"{broken.made_at}.json.gz").write_bytes(b"?")
    wait_for(
        "a second, which names a backup, is over", lambda: f"{datetime.now(UTC):{NAME}}" > broken.made_at, every=0.1
    )
    made = back_up(here, place, keep=2)
    assert any(broken.made_at in warning and "is damaged" in warning for warning in made.warnings)
    assert set(place.names("objects/")) | set(place.names("files/")) >= broken.names()
    last = back_up(here, place, keep=1)
    assert manifest.made(place) == [last.made_at]
    assert set(place.names("objects/")) | set(place.names("files/")) == last.names()


def test_a_folder_of_backups_is_for_its_owner_alone(here: Settings, tmp_path: Path) -> None:
    root = tmp_path / "place"
    back_up(here, Folder(root))
    found = {path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if path.is_dir()}
    assert found == {0o700}
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o600}


def test_an_object_store_keeps_them_too(here: Settings, minio_server: MinioServer) -> None:
    minio_server.client.create_bucket(Bucket="backups")
    reached = here.model_copy(
        update={
            "backup_s3_endpoint": here.s3_url,
            "backup_s3_access_key": here.s3_access_key,
            "backup_s3_secret_key": here.s3_secret_key,
        }
    )
    place = place_of("s3://backups/mine", reached)
    assert isinstance(place, Store)
    made = back_up(here, place)
    assert manifest.newest(place) == made
    wrong = place_of("s3://nobody/mine", reached.model_copy(update={"backup_s3_secret_key": SecretStr("wrong")}))
    with pytest.raises(PlaceError, match=r"BACKUP_S3_SECRET_KEY in \.env"):
        wrong.names("")


def test_a_place_of_another_lake_is_refused(here: Settings, tmp_path: Path) -> None:
    place = Folder(tmp_path / "place")
    back_up(here, place)
    with pytest.raises(BackupError, match="name another place"):
        back_up(here.model_copy(update={"mode": "live"}), place)


def test_a_name_that_leads_out_of_the_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="would lie outside"):
        Folder(tmp_path / "place").get("objects/../../secret", tmp_path / "x")
