"""What every wire format offers, and the values it deals in.

A format reads a request body into an `Intent`, splices what the gateway must change into the very
bytes the client sent, and meters the reply beside its bytes. Adding a format is one new file here
with a `FORMAT` constant; the registry finds it and the contract suite runs on it.

Values that every call makes are msgspec structs: making one costs a fifth of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec

from gateway.domain.errors import GatewayError
from gateway.domain.usage import Usage
from gateway.formats.splice import Member

__all__ = ["EVENT_STREAM", "Counter", "Dialect", "Format", "InBandError", "Intent", "Report", "StreamMeter"]

Dialect = Literal["openai", "anthropic", "gemini"]
# How streams come nearly everywhere.
EVENT_STREAM: Final = (b"text/event-stream",)


class Intent(msgspec.Struct, frozen=True, gc=False):
    """What one call asks for: only what pricing, caps, routing and metering need.

    `input_bound` is an upper bound in tokens of the input the gateway can see: the bytes of its text
    plus a fixed allowance for each feature that adds hidden tokens. `unseen_input` says that more comes
    from where the gateway cannot look (URLs, stored ids); such a call is quoted at the model's context
    window. `fees` bounds the per-use meters (`{"web_search": 6}`); `loops` multiplies the input for
    server-side tool loops. `choices` is how often as much as the output cap may be written: for every
    answer asked for, and for every turn of a loop that the provider runs by itself. `others` are parts of
    the call that other models may serve (advisors, fallbacks): each costs what its own model costs, on top.
    `places` are the format's own: where in the body stands what may be changed; None: not looked for yet.
    `stored` are the ids of things kept at the provider that the call names: they must be the caller's own.
    `background` asks for an answer that is made while nobody waits.
    """

    model: str
    stream: bool
    output_cap: int | None
    choices: int
    input_bound: int
    unseen_input: bool = False
    loops: int = 1
    fees: Mapping[str, int] = msgspec.field(default_factory=dict)
    end_user: str | None = None
    service_tier: str | None = None
    wants_usage: bool = False
    prices_apart: frozenset[str] = frozenset()  # meters beyond input/output the call may use: audio_input ...
    allowance: int = 0
    output_extra: int = 0
    places: tuple[Member, ...] | None = ()
    others: tuple[Intent, ...] = ()
    stored: tuple[str, ...] = ()
    background: bool = False


class Report(msgspec.Struct, frozen=True, gc=False):
    """What the provider said a call consumed, normalised into disjoint meters.

    `raw` is the provider's usage object, verbatim JSON. `unknown` names usage fields that no meter
    stands for and that are not zero, and says what did not add up. `model` and `service_tier` are the
    served ones where told. `missing` names the sides (`input`, `output`) that the report has no figure
    for although there must be one: those have to be counted. `others` is what other models consumed for
    the same call, by their names: it is not in `usage`, and each pays its own model's prices.
    """

    usage: Usage
    raw: bytes
    model: str | None = None
    service_tier: str | None = None
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    others: tuple[tuple[str, Usage], ...] = ()


@dataclass(frozen=True, slots=True)
class InBandError:
    """An error the provider reported inside a 200 stream or body."""

    code: str
    message: str


class Counter(Protocol):
    """Counts the tokens of a text with the model's tokenizer, or the nearest one we ship."""

    def count(self, text: str) -> int: ...


class StreamMeter(Protocol):
    """Reads one streamed reply beside its bytes.

    `feed` takes the upstream's bytes as they came and returns those that may go to the client now: all
    but an incomplete trailing event (it might have to be withheld), the usage-only event that the client
    did not ask for (dropped), and what waits for the close record: the terminal event, and a usage report
    before it (until anything else follows it). `finish` is called once, at the end of the stream, and
    returns what was held back. Whatever the chunking, the concatenation is the same.
    """

    @property
    def ended(self) -> bool:
        """The terminal event has been seen: nothing that bills can follow it."""

    @property
    def report(self) -> Report | None:
        """The provider's usage as last reported, None while it reported none."""

    @property
    def model(self) -> str | None:
        """The served model, where the stream names it."""

    @property
    def error(self) -> InBandError | None:
        """An error reported in the stream."""

    @property
    def relayed_output(self) -> int:
        """Tokens counted so far in the output that was relayed (see `count`)."""

    @property
    def made(self) -> tuple[str, ...]:
        """The ids of what the call left at the provider, as far as the stream has told them."""

    def feed(self, data: bytes) -> bytes:
        """Raise UpstreamFailed for a single event beyond all bounds."""

    def finish(self) -> bytes: ...

    def fail(self, tail: bytes, error: GatewayError) -> bytes:
        """The bytes that end a stream which broke off: an error of ours in the stream's own framing.

        `tail` is what `finish` returned, or nothing: those events of it go before the error that are whole,
        for half of one would garble it. Nothing can be fed after it.
        """

    def may_exceed(self, cap: int) -> bool:
        """Cheap test: might the output relayed so far be more than `cap` tokens? Never falsely False.

        True as well when so much waits to be counted that it should be, to bound the memory it takes.
        """

    def count(self, counter: Counter, budget_chars: int) -> bool:
        """Count at most `budget_chars` of the text not yet counted; True once nothing is left."""

    def cut(self, usage: Usage | None = None) -> bytes:
        """The bytes that end this stream as if the cap had been reached upstream.

        `usage` is what was counted, told to a client that asked for usage. Nothing can be fed after it.
        """


class Format(Protocol):
    """One wire dialect of one endpoint."""

    @property
    def name(self) -> str: ...

    @property
    def dialect(self) -> Dialect: ...

    @property
    def paths(self) -> tuple[str, ...]:
        """The gateway's paths that speak this format."""

    @property
    def stream_types(self) -> tuple[bytes, ...]:
        """How the content types of its streamed answers begin, in lower case."""

    def read(self, path: str, body: bytes) -> Intent:
        """Raise BadRequest (`invalid_json`, `invalid_value`, `unsupported_field`) for what is not a call."""

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        """The client's own bytes with model, output cap and usage request spliced in where they differ.

        `intent` is what `read` returned for this very body.
        """

    def meter(self, intent: Intent) -> StreamMeter: ...

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        """The usage of a non-streamed reply; None where it tells none (absent is not zero).

        With the intent, per-use fees that no usage object tells of are in it.
        """

    def made(self, body: bytes) -> tuple[str, ...]:
        """The ids of what a call left at the provider, told by a reply that was not streamed."""

    def reply_text(self, body: bytes) -> str:
        """The generated text of a non-streamed reply, for counting where usage is missing."""

    def prompt_text(self, body: bytes) -> str:
        """The text of a request, for counting the prompt."""

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        """The prompt's text counted, with what the dialect adds to each message; media are not in it.

        A long body takes long: this belongs in a thread.
        """
