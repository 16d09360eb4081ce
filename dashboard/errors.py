"""What is wrong with a request, as one sentence that says what would be right."""

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """A request that cannot be answered: its HTTP status, and the sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def unknown(what: str, value: str, known: Iterable[str]) -> RequestError:
    """There is no such thing; names what there is, the likeliest first."""
    names = sorted(known)
    near = difflib.get_close_matches(value.upper(), [name.upper() for name in names], n=1)
    hint = next((name for name in names if near and name.upper() == near[0]), None)
    guess = f" Did you mean {hint}?" if hint else ""
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return RequestError(404, f"There is no {what} {value[:40]!r}.{guess} There is {shown or 'none yet'}.")
