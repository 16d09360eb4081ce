"""What is asked of Spark in several threads: a small question is mostly planning, which the server does in one."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

Answer = TypeVar("Answer")

_AT_ONCE = 3
"""More would only wait for each other on two cores, and each holds its answer."""


def side_by_side(spark: SparkSession, questions: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """The answers, in the order of the questions. Raises what the first that fails raises.

    Spark Connect keeps tags by the thread: the threads get those of the caller, so that the Spark UI tells whose jobs
    these are.
    """
    tags = spark.getTags() if is_remote() else set()

    def answered(question: Callable[[], Answer]) -> Answer:
        for tag in tags:
            spark.addTag(tag)
        return question()

    if len(questions) < 2:
        return [question() for question in questions]
    with ThreadPoolExecutor(min(_AT_ONCE, len(questions))) as pool:
        return list(pool.map(answered, questions))
