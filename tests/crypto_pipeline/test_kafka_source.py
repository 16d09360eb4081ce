"""Places in Kafka: where to go on, and what is never skipped in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaProducer

from crypto_pipeline.kafka_source import (
    ExpiredOffsetsError,
    bounds,
    chunk_end,
    furthest,
    made_anew,
    smallest,
    starting,
    tasks,
    topic_ids,
    waiting_messages,
)
from tests.servers import KafkaServer

FIRST = {"crypto_raw_btcusdt": {"0": 100}}
END = {"crypto_raw_btcusdt": {"0": 500}}


def test_it_goes_on_after_what_was_read() -> None:
    assert starting({"crypto_raw_btcusdt": {"0": 300}}, FIRST, END) == {"crypto_raw_btcusdt": {"0": 300}}


def test_a_new_topic_is_read_from_its_beginning() -> None:
    assert starting({}, FIRST, END) == FIRST


def test_messages_that_kafka_dropped_unread_stop_it_with_the_exact_range() -> None:
    with pytest.raises(ExpiredOffsetsError, match=r"crypto_raw_btcusdt\[0\] 40 to 99.*skip_expired_offsets"):
        starting({"crypto_raw_btcusdt": {"0": 40}}, FIRST, END)


def test_a_topic_that_was_made_anew_stops_it() -> None:
    with pytest.raises(ExpiredOffsetsError, match="made anew"):
        starting({"crypto_raw_btcusdt": {"0": 501}}, FIRST, END)


def test_a_topic_that_was_made_anew_and_outgrew_what_was_read_stops_it() -> None:
    ids = {"crypto_raw_btcusdt": "a"}
    first, read = {"crypto_raw_btcusdt": {"0": 0}}, {"crypto_raw_btcusdt": {"0": 300}}
    assert starting(read, first, END, anew=made_anew(ids, ids)) == read
    assert starting(read, first, END, anew=made_anew({}, ids)) == read, "no id was noted yet"
    anew = made_anew(ids, {"crypto_raw_btcusdt": "b"})
    with pytest.raises(ExpiredOffsetsError, match="made anew: the one before was read to 300"):
        starting(read, first, END, anew=anew)
    assert starting(read, first, END, anew=anew, skip_expired=True) == first


def test_kafka_tells_a_topic_from_one_that_was_made_anew(kafka_server: KafkaServer) -> None:
    broker, topic = kafka_server.settings.broker, "crypto_raw_anewusdt"
    admin = KafkaAdminClient(**broker.client())
    found = []
    try:
        for count in (2, 5):
            admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
            producer = KafkaProducer(**broker.client())
            for _ in range(count):
                producer.send(topic, b"{}")
            producer.close()
            found.append((topic_ids(broker), *bounds(broker, topic)))
            admin.delete_topics([topic])
    finally:
        admin.close()
    (known, _, read), (there, first, end) = found
    assert starting(read, first, end, anew=made_anew(known, known)) == {topic: {"0": 2}}
    with pytest.raises(ExpiredOffsetsError, match=r"anewusdt\[0\] was made anew"):
        starting(read, first, end, anew=made_anew(known, there))


def test_told_to_go_on_it_starts_at_the_first_message_there_is() -> None:
    assert starting({"crypto_raw_btcusdt": {"0": 40}}, FIRST, END, skip_expired=True) == FIRST


def test_the_smallest_place_is_before_every_other() -> None:
    places = [{"a": {"0": 5, "1": 7}}, {"a": {"0": 3, "1": 9}, "b": {"0": 1}}]
    assert smallest(places) == {"a": {"0": 3, "1": 7}, "b": {"0": 1}}


def test_a_place_never_goes_back_and_is_kept_while_its_topic_is_away() -> None:
    assert furthest({"a": {"0": 9}, "gone": {"0": 4}}, {"a": {"0": 5}, "b": {"0": 1}}) == {
        "a": {"0": 9},
        "gone": {"0": 4},
        "b": {"0": 1},
    }


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1),
    st.integers(1, 10**5),
)
def test_chunks_reach_the_end_in_steps_of_about_the_limit_and_skip_nothing(
    topics: dict[str, tuple[int, int]], limit: int
) -> None:
    start = {name: {"0": first} for name, (first, _) in topics.items()}
    end = {name: {"0": first + count} for name, (first, count) in topics.items()}
    for _ in range(10_000):
        stop = chunk_end(start, end, limit)
        sizes = waiting_messages(start, stop)
        assert all(size >= 0 for counts in sizes.values() for size in counts.values())
        taken = sum(size for counts in sizes.values() for size in counts.values())
        assert taken <= limit + len(topics)
        if stop == end:
            return
        assert taken > 0
        start = {name: dict(partitions) for name, partitions in stop.items()}
        limit *= 2  # so that the test ends soon
    pytest.fail("the end is never reached")


def test_few_messages_are_few_tasks_however_many_topics_hold_them() -> None:
    topics = [f"crypto_raw_{number}" for number in range(400)]
    start = {topic: {"0": 7} for topic in topics}
    assert tasks(start, {topic: {"0": 8} for topic in topics}) == 2
    assert tasks(start, {topic: {"0": 507} for topic in topics}) == 4
