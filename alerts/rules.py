"""`config/alerts.yaml`: rules and destinations, read whole or refused whole, and taken up when it is saved."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model
from pydantic.functional_validators import BeforeValidator

from alerts.delivery import is_address
from alerts.kinds import found
from alerts.kinds._kind import Name, Rule
from shared import yaml_file
from shared.settings import env_file, env_files, secret
from shared.yaml_file import Loc, Parsed, YamlFileError

_REFERENCE = re.compile(r"\$\{(\w+)\}")


class AlertsFileError(YamlFileError):
    """An `alerts.yaml` that is refused; the message gives file, line and reason, and no secret."""


class Destination(BaseModel):
    """Where alerts are sent: an address as apprise has it. `${ALERTS_NAME}` in it is that secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: SecretStr


class Digest(BaseModel):
    """A summary, once a day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hour: Annotated[int, Field(ge=0, le=23)] = 7
    """UTC."""
    destinations: Annotated[tuple[str, ...], Field(min_length=1)]


class Retry(BaseModel):
    """How long to wait before a destination that did not take a message is tried again: each time twice as long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_seconds: Annotated[float, Field(gt=0, le=3600)] = 2
    longest_seconds: Annotated[float, Field(gt=0, le=3600)] = 300

    def after(self, attempts: int) -> float:
        """Seconds to wait after so many attempts."""
        return min(self.first_seconds * 2.0 ** min(attempts - 1, 30), self.longest_seconds)


class AlertsFile(BaseModel):
    """What an `alerts.yaml` says, its secrets filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = ()
    destinations: Mapping[Name, Destination] = {}
    digest: Digest | None = None
    heartbeat: Destination | None = None
    retry: Retry = Retry()
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """After so long what is over and what was sent, or could not be, is removed."""

    def rule(self, name: str) -> Rule | None:
        """The rule of this name."""
        return next((rule for rule in self.rules if rule.name == name), None)


def _kind(value: Any) -> Any:
    """One sentence where the kind is none, for pydantic's would not say that a line is missing."""
    if isinstance(value, dict) and value.get("kind") not in found():
        named = f"there is no kind {value['kind']!r}" if "kind" in value else "it names no kind"
        raise ValueError(f"{named}; there are {', '.join(sorted(found()))}")
    return value


@cache
def _model() -> type[AlertsFile]:
    """The file with a rule of each kind."""
    kinds: Any = tuple(found().values())
    one: Any = kinds[0]
    for other in kinds[1:]:
        one = one | other
    rule = Annotated[one, Field(discriminator="kind"), BeforeValidator(_kind)]
    made: type[AlertsFile] = create_model("AlertsFile", __base__=AlertsFile, rules=(tuple[rule, ...], ()))
    return made


def load(path: Path) -> AlertsFile:
    """The file. Raises `AlertsFileError` with file, line and reason; nothing of a wrong file is used."""
    needs = "`rules`, a list; the one that comes with the project shows each kind"
    file, parsed = yaml_file.load(path, _model(), AlertsFileError, needs, _without_tag)
    _check_names(file, parsed)
    destinations = {
        name: _filled(each, parsed, ("destinations", name, "url")) for name, each in file.destinations.items()
    }
    for name, each in destinations.items():
        if not is_address(each.url.get_secret_value()):
            raise AlertsFileError(
                f"{parsed.at(('destinations', name, 'url'))}: destinations.{name}.url: is no address that apprise "
                "knows, such as jsons://host/path (a webhook), slack://…, tgram://… or mailto://…."
            )
    heartbeat = file.heartbeat and _filled(file.heartbeat, parsed, ("heartbeat", "url"))
    if heartbeat and not heartbeat.url.get_secret_value().startswith(("http://", "https://")):
        raise AlertsFileError(f"{parsed.at(('heartbeat', 'url'))}: heartbeat.url: begins with http:// or https://.")
    return file.model_copy(update={"destinations": destinations, "heartbeat": heartbeat})


def _check_names(file: AlertsFile, parsed: Parsed) -> None:
    seen: set[str] = set()
    users: list[tuple[Loc, tuple[str, ...]]] = []
    for place, rule in enumerate(file.rules):
        if rule.name in seen:
            raise AlertsFileError(f"{parsed.at(('rules', place, 'name'))}: the rule {rule.name} stands twice.")
        seen.add(rule.name)
        users.append((("rules", place, "destinations"), rule.destinations))
    if file.digest:
        users.append((("digest", "destinations"), file.digest.destinations))
    for loc, names in users:
        for place, name in enumerate(names):
            if name not in file.destinations:
                there = ", ".join(file.destinations) or "none"
                raise AlertsFileError(
                    f"{parsed.at((*loc, place))}: there is no destination {name}; there are: {there}."
                )


def _filled(destination: Destination, parsed: Parsed, loc: Loc) -> Destination:
    def value(match: re.Match[str]) -> str:
        try:
            return secret(match[1])
        except KeyError:
            raise AlertsFileError(
                f"{parsed.at(loc)}: {'.'.join(map(str, loc))}: {match[1]} is not set: put it into {env_file()}; its "
                "name begins with ALERTS_."
            ) from None

    return Destination(url=SecretStr(_REFERENCE.sub(value, destination.url.get_secret_value())))


def _without_tag(loc: Loc) -> Loc:
    """Pydantic's path without the name of the kind that it tried a rule as."""
    return [part for place, part in enumerate(loc) if not (place == 2 and loc[0] == "rules" and part in found())]


class Watched:
    """The file as it changes, with `.env`, where its secrets are. A wrong one is reported once and changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[bytes, ...] | None = None

    @property
    def content(self) -> bytes:
        """The file as it was at the last call of `changed`."""
        return self._seen[0] if self._seen else b""

    def changed(self) -> AlertsFile | None:
        """What it says, where it or `.env` was written since the last call; else none.

        Raises `AlertsFileError`, once for each wrong content.
        """
        content = (_content(self._path), *map(_content, env_files()))
        if content == self._seen:
            return None
        self._seen = content
        return load(self._path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
