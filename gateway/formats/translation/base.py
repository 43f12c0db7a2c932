"""What every translation offers, and how the gate finds one.

A call is translated before its upstream's format reads it: price, caps, tools and media are that format's
business, and so is metering. What the meter lets through is written again in the client's words. Adding a
translation is one new file here with a `TRANSLATION` constant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from gateway.domain.usage import Usage
from gateway.formats.base import Dialect, Format, Intent

__all__ = ["Occasion", "Translated", "Translation", "Translations", "Translator", "Writer"]


class Occasion(NamedTuple):
    """What of a call is not in its body: what the client said by reading, the upstream's model, the time."""

    intent: Intent
    model: str
    at_us: int


class Writer(Protocol):
    """Writes one stream again, in the client's words.

    `feed` takes bytes of the upstream's stream. `finish` is called once at its end, with the usage that the
    meter read, None where it read none; it returns the end of the stream, nothing where the upstream's has
    none. Whatever the chunking, the concatenation is the same.
    """

    def feed(self, data: bytes) -> bytes: ...

    def finish(self, usage: Usage | None) -> bytes: ...


class Translator(Protocol):
    """The way back of one call."""

    @property
    def dialect(self) -> Dialect:
        """The client's."""

    def writer(self, *, wants_usage: bool) -> Writer: ...

    def reply(self, body: bytes, usage: Usage | None) -> bytes:
        """A success that was not streamed. Raises UpstreamFailed for what cannot be read."""

    def refusal(self, status: int | None, body: bytes) -> tuple[int, bytes]:
        """Status and body of an error of the provider, whatever its body is; None: it came in a success."""


class Translated(NamedTuple):
    """A call in its upstream's words: the format that reads it, its path there, its body, the way back."""

    format: str
    path: str
    body: bytes
    translator: Translator


class Translation(Protocol):
    """From a client's format to those of one family of upstreams."""

    @property
    def name(self) -> str: ...

    @property
    def client(self) -> str:
        """The format that the client speaks."""

    @property
    def upstream(self) -> str:
        """A format that the provider has to speak."""

    def translate(self, body: bytes, occasion: Occasion) -> Translated:
        """Raise BadRequest (`unsupported_field`, `invalid_value`) for what the other dialect cannot say."""


class Translations:
    """Every translation there is, by the two formats it is between."""

    def __init__(
        self, known: Iterable[Translation] = (), formats: Mapping[str, Format] | None = None
    ) -> None:
        self._known = {(each.client, each.upstream): each for each in known}
        self._formats = formats or {}

    def between(self, client: str, spoken: Collection[str]) -> Translation | None:
        """The translation from a client's format to one of those that a provider speaks; None without one."""
        for name in spoken:
            found = self._known.get((client, name))
            if found is not None:
                return found
        return None

    def format(self, name: str) -> Format:
        """The format of a translated call."""
        return self._formats[name]
