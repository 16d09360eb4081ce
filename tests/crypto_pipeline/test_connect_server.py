import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from crypto_pipeline import connect_server
from deployment import jars
from deployment.paths import PROJECT, child_environment
from shared.settings import Settings

PASSWORD = 'a"b\\c'
CARRIED = """
from pyspark.sql import SparkSession
from crypto_pipeline import connect_server
from shared.settings import Settings

connect_server.configure(Settings.load())
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark._jvm.java.lang.Class.forName("org.apache.hadoop.mapred.JobConf")
carried = spark.sparkContext._jsc.hadoopConfiguration()
entries = carried.iterator()
while entries.hasNext():
    print(entries.next().getKey())
spark.stop()
"""


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


@pytest.mark.skipif(not jars.folder("spark").is_dir(), reason="Spark's jars are not there: ./deploy.sh fetches them")
def test_what_each_task_carries_along_holds_nothing_of_yarn_and_of_mapreduce(home: Path) -> None:
    env = child_environment(
        CRYPTO_HOME=str(home),
        PYTHONPATH=str(PROJECT),
        SPARK_JARS=str(jars.folder("spark")),
        SPARK_LOCAL_IP="127.0.0.1",
    )
    done = subprocess.run(
        (sys.executable, "-c", CARRIED), env=env, cwd=home, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    carried = done.stdout.split()
    assert "fs.s3a.path.style.access" in carried, "our own are there"
    assert "fs.s3a.connection.maximum" in carried
    set_by_spark = {"mapreduce.fileoutputcommitter.algorithm.version"}
    assert {name for name in carried if name.startswith(("yarn.", "mapreduce."))} <= set_by_spark
