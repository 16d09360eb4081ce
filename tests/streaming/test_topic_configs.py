"""How long a topic is kept: ours by the broker, another Kafka's by what it is made with."""

from pathlib import Path

from shared.settings import Settings
from streaming.kafka_producer import _topic_configs


def test_in_another_kafka_a_topic_is_made_with_the_time_of_the_file_and_ours_is_told_itself(tmp_path: Path) -> None:
    assert _topic_configs(Settings()) == {}
    file = tmp_path / "retention.yaml"
    file.write_text(Settings().retention_file.read_text().replace("keep: 48h", "keep: 7d"))
    other = Settings(kafka_bootstrap_servers="elsewhere:9092", retention_file=file)
    assert _topic_configs(other) == {"retention.ms": "604800000"}
