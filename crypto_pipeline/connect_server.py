"""The one long-lived Spark driver: a Spark Connect server on loopback; every table is known before its port opens.

`python -m crypto_pipeline.connect_server`. Spark Connect 3.5 listens on all interfaces and ignores
`spark.connect.grpc.binding.address`. So its service is started on any port, that server is shut, and the same service
is bound again to the address we want. The listener and the page in the Spark UI that the first start made stay.
"""

import logging
import os
import shutil
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from pyspark.sql import SparkSession

from crypto_pipeline import catalog
from crypto_pipeline.lakehouse import Lakehouse, NeedsUpgradeError, NewerLakeError
from crypto_pipeline.silver import fact_ohlcv
from shared import logs
from shared.settings import PROJECT, Settings, settings

log = logging.getLogger(__name__)

_MEMORY = {"6g": ("768m", "768m"), "8g": ("896m", "896m")}
"""Heap of the driver and of the executor by memory profile."""


_JAVA = (
    "-Duser.timezone=UTC -XX:+UseSerialGC -XX:MetaspaceSize=256m "
    "-Dorg.xml.sax.driver=com.sun.org.apache.xerces.internal.parsers.SAXParser"
)
"""Hudi names its commits in the JVM's zone. On a heap this small the serial collector holds the least beside it.

Up to MetaspaceSize classes grow without a full collection at each step: where it was not named, full collections took
the driver five seconds of the first four minutes and the executor two.

S3's client asks for a parser for each answer of the store. Where none is named, all jars are searched for one.
"""
_UNUSED_DEFAULTS = ("yarn-default.xml", "mapred-default.xml")
"""Hadoop's own settings of YARN and of MapReduce: 627 of the 964 that a configuration holds, and none of them is used.

Hudi's tasks carry the configuration, so each job wrote and each task read 97 kB of it. Files of these names in the
folder that comes first where classes are looked for take the place of those in Hadoop's jar.
"""


def spark_properties(config: Settings) -> Mapping[str, str]:
    """The properties of the server, the Hudi and S3A settings included."""
    driver_memory, executor_memory = _MEMORY[config.memory_profile]
    jars = f"{config.spark_jars}/*"
    kafka = {"spark.driver.extraJavaOptions": _JAVA, "spark.executor.extraJavaOptions": _JAVA}
    if config.broker.has_login:
        # Executors fetch the file from the driver into the folder that they run in.
        file = jaas_file(config)
        kafka = {
            "spark.files": str(file),
            "spark.driver.extraJavaOptions": f"{_JAVA} -Djava.security.auth.login.config={file}",
            "spark.executor.extraJavaOptions": f"{_JAVA} -Djava.security.auth.login.config={file.name}",
        }
    return {
        **kafka,
        "spark.master": f"spark://{config.host('spark-master')}:{config.spark_master_port}",
        "spark.app.name": f"crypto-lakehouse-{config.mode}",
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.driver.memory": driver_memory,
        "spark.executor.memory": executor_memory,
        "spark.driver.host": config.host("spark-connect"),
        "spark.driver.bindAddress": config.bind_address,
        "spark.ui.port": str(config.spark_ui_port),
        "spark.port.maxRetries": "0",
        # Broadcasts go when the driver's collector finds them; with a calm heap that was every half hour and 500 MB.
        "spark.cleaner.periodicGC.interval": "2min",
        "spark.ui.retainedJobs": "500",
        "spark.ui.retainedStages": "500",
        "spark.sql.ui.retainedExecutions": "200",
        "spark.ui.showConsoleProgress": "false",
        # Prometheus reads both on the UI's port; without a namespace the names have the application's id.
        "spark.ui.prometheus.enabled": "true",
        "spark.metrics.namespace": "lakehouse",
        "spark.metrics.conf.driver.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
        "spark.metrics.conf.driver.sink.prometheusServlet.path": "/metrics/prometheus",
        "spark.metrics.conf.driver.source.jvm.class": "org.apache.spark.metrics.source.JvmSource",
        "spark.connect.grpc.binding.port": "0",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        # A pass of the pipeline is more classes than the 100 that are kept by default: each would be compiled again, by
        # Janino and then by the JVM, in every minute.
        "spark.sql.codegen.cache.maxEntries": "4000",
        "spark.sql.decimalOperations.allowPrecisionLoss": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.kafka.consumer.cache.capacity": "1024",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.kryo.registrator": "org.apache.spark.HoodieSparkKryoRegistrar",
        "spark.sql.extensions": "org.apache.spark.sql.hudi.HoodieSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.hudi.catalog.HoodieCatalog",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(config.state / "spark" / "warehouse"),
        "spark.hadoop.fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": config.s3_url,
        "spark.hadoop.fs.s3a.endpoint.region": config.s3_region,
        "spark.hadoop.fs.s3a.access.key": config.s3_access_key,
        "spark.hadoop.fs.s3a.secret.key": config.s3_secret_key.get_secret_value(),
        "spark.hadoop.fs.s3a.path.style.access": "true",
        # Hudi leaks S3 connections: a big pool and few attempts turn a hang into an error that names its cause.
        "spark.hadoop.fs.s3a.connection.maximum": "2000",
        "spark.hadoop.fs.s3a.attempts.maximum": "3",
        "spark.hadoop.fs.s3a.fast.upload.buffer": "bytebuffer",
    }


def jaas_file(config: Settings) -> Path:
    """Where the login at another Kafka lies for Spark's own client of it: on no command line and in no plan."""
    return config.state / "spark" / "conf" / "kafka_login.conf"


def write_defaults(folder: Path, properties: Mapping[str, str]) -> None:
    """Write `spark-defaults.conf`. It holds a secret, so it is a file of ours alone, not a command line."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "spark-defaults.conf", "".join(f"{name} {value}\n" for name, value in properties.items() if value))


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def configure(config: Settings) -> None:
    """Write the server's configuration where pyspark will read it."""
    conf = config.state / "spark" / "conf"
    write_defaults(conf, spark_properties(config))
    for name in _UNUSED_DEFAULTS:
        (conf / name).write_text("<configuration/>\n")
    if config.broker.has_login:
        _write(jaas_file(config), config.broker.jaas())
    shutil.copyfile(PROJECT / "config" / "spark" / "log4j2.properties", conf / "log4j2.properties")
    os.environ["SPARK_CONF_DIR"] = str(conf)  # noqa: TID251 (pyspark reads it from nowhere else)


def serve(config: Settings) -> int:
    """Run until TERM or until the driver's JVM is gone; gives the exit status."""
    configure(config)
    spark = SparkSession.builder.getOrCreate()
    context = spark.sparkContext
    context.setLogLevel("WARN")
    jvm: Any = context._jvm
    lake = Lakehouse(spark, config, config.lake_buckets)
    executor = Thread(target=spark.range(1).count, daemon=True)
    executor.start()  # it starts while the tables are registered
    try:
        register(lake)
    except (NeedsUpgradeError, NewerLakeError) as error:
        log.error("%s", error)  # noqa: TRY400 (a sentence for the user)
        spark.stop()
        return 1
    server = _listen(spark, config)
    log.info("listening on %s:%s", config.bind_address, config.spark_connect_port)
    Thread(target=warm_up, args=(lake,), daemon=True).start()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.shutdownNow()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    seconds = jvm.java.util.concurrent.TimeUnit.SECONDS
    while not server.awaitTermination(1, seconds):
        if context._jsc.sc().isStopped():
            log.error("the Spark application ended: the master is gone or refused it")
            return 1
    spark.stop()
    return 0


def register(lake: Lakehouse) -> None:
    """Make every table and view known by its name; the server's catalogue is in memory."""
    for layer in catalog.LAYERS:
        lake.create_database(layer)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lake.create, catalog.tables().values()))
    for view in catalog.views().values():
        lake.create_view(view)


def warm_up(lake: Lakehouse) -> None:
    """Read the candles once, so that the first client does not wait for what a new server and executor load."""
    lake.spark.sql(f"SELECT count(*) FROM {fact_ohlcv.VIEW.full_name}").collect()  # noqa: S608 (a name of our own)
    log.info("warm")


def _listen(spark: SparkSession, config: Settings) -> Any:
    """The gRPC server of the Connect service on our address."""
    jvm: Any = spark.sparkContext._jvm
    package = jvm.org.apache.spark.sql.connect
    package.service.SparkConnectService.start(spark.sparkContext._jsc.sc())
    companion = getattr(jvm, "org.apache.spark.sql.connect.service.SparkConnectService$")
    singleton = getattr(companion, "MODULE$")
    singleton.server().shutdownNow()
    address = jvm.java.net.InetSocketAddress(config.bind_address, config.spark_connect_port)
    builder = jvm.org.sparkproject.connect.grpc.netty.NettyServerBuilder.forAddress(address)
    builder.maxInboundMessageSize(128 * 1024 * 1024)
    return builder.addService(package.service.SparkConnectService(False)).build().start()


if __name__ == "__main__":
    logs.set_up(settings().log_format)
    raise SystemExit(serve(settings()))
