"""JSON in which a decimal is a number with all its digits, which databases keep."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def json_text(value: Any) -> str:
    """The JSON of a nested value of Arrow; times are ISO 8601 in UTC."""
    match value:
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{json_text(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(json_text, value)) + "]"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return json.dumps(value.astimezone(UTC).isoformat().replace("+00:00", "Z"))
        case _:
            return json.dumps(value)
