from pathlib import Path

import pytest
from pydantic import SecretStr

from crypto_pipeline import connect_server
from shared.settings import Settings

PASSWORD = 'a"b\\c'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setenv("SPARK_CONF_DIR", "")  # is another after `configure`
    return tmp_path


def test_the_login_lies_in_a_file_of_ours_alone_that_driver_and_executors_name(home: Path) -> None:
    settings = Settings(kafka_broker="hub:9093", kafka_password=SecretStr(PASSWORD))
    connect_server.configure(settings)
    file = connect_server.jaas_file(settings)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == settings.broker.jaas()
    defaults = (file.parent / "spark-defaults.conf").read_text()
    named = dict(line.split(" ", 1) for line in defaults.splitlines())
    assert named["spark.files"] == str(file)
    assert named["spark.driver.extraJavaOptions"].endswith(f"-Djava.security.auth.login.config={file}")
    assert named["spark.executor.extraJavaOptions"].endswith("-Djava.security.auth.login.config=kafka_login.conf")
    assert PASSWORD not in defaults


def test_without_a_login_there_is_no_file_of_it(home: Path) -> None:
    connect_server.configure(Settings())
    assert not connect_server.jaas_file(Settings()).exists()
    assert "spark.files" not in connect_server.spark_properties(Settings())
