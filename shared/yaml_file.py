"""A YAML file that people write: read whole, or refused whole with file, line and reason."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Loc = Sequence[int | str]
"""The keys and places that lead to a value."""


class YamlFileError(Exception):
    """A file that is refused; the message gives file, line and reason."""


class Parsed(NamedTuple):
    """What stands in a file, and where."""

    path: Path
    root: yaml.Node

    def at(self, loc: Loc) -> str:
        """`FILE:LINE` of what `loc` leads to."""
        return f"{self.path}:{_line(self.root, loc)}"


def load(
    path: Path,
    model: type[Model],
    refusal: type[YamlFileError],
    needs: str,
    readable: Callable[[Loc], Loc] = lambda loc: loc,
) -> tuple[Model, Parsed]:
    """The file as the model, and where each part of it stands.

    Raises `refusal`; `needs` says what an empty file lacks, `readable` makes pydantic's path that of the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise refusal(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise refusal(f"{path}: is not UTF-8 text.") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
        repeated = list(_repeated_keys(root)) if root else []
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or "is not YAML"
        raise refusal(f"{path}:{line}: not YAML: {reason}.") from None
    except (ValueError, TypeError, RecursionError) as error:  # an impossible date, a list as a key, an alias of itself
        raise refusal(f"{path}:1: not YAML that makes sense: {error}.") from None
    if root is None:
        raise refusal(f"{path}:1: is empty; it needs {needs}.")
    for key, line in repeated:
        raise refusal(f"{path}:{line}: {key!r} stands twice.")
    parsed = Parsed(path, root)
    try:
        return model.model_validate(data), parsed
    except ValidationError as error:
        fault = error.errors()[0]
        loc = readable(fault["loc"])
        where = ".".join(str(part) for part in loc)
        reason = fault["msg"].removeprefix("Value error, ")
        raise refusal(f"{parsed.at(loc)}: {where}: {reason}.") from None


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _line(node: yaml.Node, loc: Loc) -> int:
    """The line of the deepest key or item on the way to `loc`."""
    line = node.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1
