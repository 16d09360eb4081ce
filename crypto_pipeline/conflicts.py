"""Two writers of one table: Hudi lets the first commit and refuses the second, which must look again and repeat."""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

ANOTHER_WRITER = "Another run is writing to the same files; trying again."
_PATIENCE_SECONDS = 600


def conflicts_retried(on_conflict: Callable[[RetryCallState], None]) -> Retrying:
    """Calls again where another writer was quicker, for ten minutes."""
    return Retrying(
        retry=retry_if_exception(is_conflict),
        wait=wait_random_exponential(multiplier=1, max=15),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        before_sleep=on_conflict,
        reraise=True,
    )


def is_conflict(error: BaseException) -> bool:
    """Another writer wrote into the same files and was done first; nothing of ours was written."""
    return any(name in str(error) for name in ("WriteConflictException", "ConcurrentModificationException"))
