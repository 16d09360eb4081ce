"""Sending one message to one destination, by apprise, and what it answered. No address shows in an answer or a log."""

import logging
import re
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import apprise

About = Literal["fired", "resolved", "digest", "test"]
_WEBHOOKS = ("json://", "jsons://", "form://", "forms://", "xml://", "xmls://")
_TYPES = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}
_SHORTEST_SECRET = 4
"""A shorter part of an address is no secret, and stands in many words."""

logging.getLogger("apprise").propagate = False  # what it says is in the answer, where addresses are taken out


class Message(NamedTuple):
    """What is sent."""

    about: About
    severity: str
    title: str
    body: str
    key: str
    """The same each time the message is sent: by it a webhook tells that it has it already."""


def is_address(url: str) -> bool:
    """Whether apprise knows how to send there."""
    return apprise.Apprise.instantiate(url) is not None


def send(url: str, message: Message) -> str:
    """Send it; empty where the destination took it, else a sentence that says why not."""
    try:
        destination = apprise.Apprise.instantiate(_with_key(url, message), suppress_exceptions=False)
        if destination and "overflow=" not in url:  # a message that is too long is sent in parts
            destination.overflow_mode = apprise.OverflowMode.SPLIT
        result = apprise.Apprise(destination).notify(
            title=message.title,
            body=message.body,
            notify_type=apprise.NotifyType.SUCCESS if message.about == "resolved" else _TYPES[message.severity],
            log_level=logging.WARNING,
        )
        said = (
            "" if result else " ".join(entry.message for entry in result.logs()) or "The destination did not take it."
        )
    except Exception as error:  # noqa: BLE001 (a plugin may raise anything; its message is tried again)
        said = f"{type(error).__name__}: {error}"
    return without_secrets(said, url)


def _with_key(url: str, message: Message) -> str:
    """The address of a webhook with the message's key among the fields and headers that it gets; another as it is."""
    if not url.startswith(_WEBHOOKS):
        return url
    fields = {":key": message.key, ":about": message.about, ":severity": message.severity}
    fields["+Idempotency-Key"] = message.key
    query = "&".join(f"{quote(name, safe=':+')}={quote(value)}" for name, value in fields.items())
    return f"{url}{'&' if '?' in url else '?'}{query}"


def without_secrets(text: str, url: str) -> str:
    """The text without the address, or any part of it that may be secret."""
    parts = {url, *re.split(r"[/?&=:@#,]+", url)}
    parts |= {unquote(part) for part in parts}
    shown = {url.partition(":")[0], urlsplit(url).hostname}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET and part not in shown:
            text = text.replace(part, "***")
    return text
