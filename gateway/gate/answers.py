"""What an upstream answers, read beside its bytes: metered as it streams, or collected and read at its end.

An answer is streamed when a stream was asked for and comes, with success, as the format's streams do;
everything else is collected whole. We ask for bytes as they are (`accept-encoding: identity`); an upstream
that encodes them all the same is decoded, for what cannot be read cannot be metered, and passed on decoded.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from gateway.domain.errors import GatewayError, UpstreamFailed
from gateway.formats.base import Format, Intent, StreamMeter
from gateway.formats.translation.base import Translator
from gateway.formats.translation.metering import TranslatedMeter
from gateway.gate.inbound import Headers
from gateway.gate.settlement import Ending
from gateway.relay.calls import UpstreamFailure

__all__ = ["IN_BAND", "Answer", "Outcome", "failed"]

# Flags an error that came inside a success.
IN_BAND = "upstream_error"

_TIMEOUTS = ("connect_timeout", "first_byte_timeout", "idle_timeout")
_CODINGS = (b"gzip", b"x-gzip", b"deflate")
# zlib's "automatic header detection": gzip and zlib streams alike.
_ANY_HEADER = zlib.MAX_WBITS | 32


class Outcome(NamedTuple):
    """How an attempt ended for the books, and the error a client is told instead of the (whole) answer."""

    ending: Ending
    error: GatewayError | None = None


class Answer:
    """One answer, from its head to its end. `meter` is there when it is streamed."""

    __slots__ = (
        "_format",
        "_inflate",
        "_intent",
        "_limit_bytes",
        "_parts",
        "_size",
        "headers",
        "meter",
        "status",
    )

    def __init__(
        self,
        status: int,
        headers: Headers,
        wire_format: Format,
        intent: Intent,
        limit_bytes: int,
        translator: Translator | None = None,
    ) -> None:
        """`wire_format` is the upstream's; a stream of it goes on in the words of the `translator`.

        `limit_bytes` bounds what is collected. Raises UpstreamFailed for a coding nobody asked for.
        """
        self.status = status
        self.headers = headers
        self.meter: StreamMeter | None = None
        self._format = wire_format
        self._intent = intent
        self._limit_bytes = limit_bytes
        self._inflate: zlib._Decompress | None = None
        self._parts: list[bytes] = []
        self._size = 0
        for name, value in headers:
            if name == b"content-type":
                kind = value.lstrip().lower()
                if intent.stream and status < 300 and kind.startswith(wire_format.stream_types):
                    self.meter = wire_format.meter(intent)
                    if translator is not None:
                        writer = translator.writer(wants_usage=intent.wants_usage)
                        self.meter = TranslatedMeter(self.meter, writer, translator.dialect)
            elif name == b"content-encoding":
                self._decode(value.strip().lower())

    def _decode(self, coding: bytes) -> None:
        if coding in (b"", b"identity"):
            return
        if coding not in _CODINGS:
            raise UpstreamFailed(
                "upstream_unavailable",
                "The upstream encoded its answer, so that it cannot be metered.",
                hint="The gateway asks for plain answers; the provider, or a proxy before it, must comply.",
            )
        self._inflate = zlib.decompressobj(_ANY_HEADER)
        self.headers = [pair for pair in self.headers if pair[0] != b"content-encoding"]

    @property
    def body(self) -> bytes:
        """What was collected."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> bytes:
        """Take in bytes as they came; returns those of a stream that may go on to the client now.

        Raises UpstreamFailed for what is beyond the bounds or cannot be decoded.
        """
        if self._inflate is not None:
            data = self._decoded(self._inflate, data)
        if self.meter is not None:
            return self.meter.feed(data)
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit_bytes:
            raise self._too_large()
        return b""

    def _decoded(self, inflate: zlib._Decompress, data: bytes) -> bytes:
        try:
            data = inflate.decompress(data, self._limit_bytes)
        except zlib.error as broken:
            raise UpstreamFailed(
                "upstream_unavailable",
                f"The upstream's answer cannot be decoded: {broken}.",
                hint="Try again.",
            ) from broken
        if inflate.unconsumed_tail:
            raise self._too_large()
        return data

    def _too_large(self) -> UpstreamFailed:
        return UpstreamFailed(
            "upstream_unavailable",
            f"The upstream's answer is larger than {self._limit_bytes} bytes.",
            hint="Ask for less output, or raise limits.max_reply_bytes.",
        )

    def text(self) -> str:
        """The generated text of a collected success, complete or not, for counting."""
        return self._format.reply_text(self.body) if self.meter is None and self.status < 300 else ""

    def made(self) -> tuple[str, ...]:
        """The ids of what the call left at the provider."""
        if self.meter is not None:
            return self.meter.made
        return self._format.made(self.body) if self.status < 300 else ()

    def ended(self) -> Outcome:
        """What the complete answer means. Of a stream, `finish` has been called."""
        if self.meter is not None:
            return Outcome(_ended_stream(self.status, self.meter))
        if self.status >= 400:
            return Outcome(Ending("void", self.status, flags=("upstream_refused",)))
        if self.status >= 300:
            return Outcome(Ending("void", self.status, flags=("upstream_refused",)), _redirected(self.status))
        return self._ended_whole()

    def _ended_whole(self) -> Outcome:
        body = self.body
        report, error = self._format.read_reply(body, self._intent)
        if report is not None or error is None:
            return Outcome(Ending("done", self.status, report))
        if error.code != "unreadable_reply":
            # An error in a 200; no provider bills a call that it refused.
            return Outcome(Ending("void", self.status, flags=(IN_BAND,)))
        # A reply that was cut off was worked for; a page of HTML is some proxy's, which asked no model.
        outcome = "aborted" if body.lstrip()[:1] == b"{" else "void"
        return Outcome(Ending(outcome, self.status, flags=("unreadable_reply",)), _unreadable())

    def broken(self, *flags: str) -> Ending:
        """What the answer means when the rest of it never comes."""
        if self.status >= 300:
            return Ending("void", self.status, flags=("upstream_refused", *flags))
        report = self.meter.report if self.meter is not None else None
        return Ending("aborted", self.status, report, flags=flags)


def _ended_stream(status: int, meter: StreamMeter) -> Ending:
    report = meter.report
    if meter.error is not None:
        return Ending("aborted", status, report, flags=(IN_BAND,))
    return Ending("done", status, report, flags=() if meter.ended or report is not None else ("cut",))


def failed(answer: Answer | None, failure: UpstreamFailure, title: str) -> Outcome:
    """What it means that the upstream, called `title`, was not reached or went away."""
    error = _away(answer, failure, title)
    if answer is not None:
        return Outcome(answer.broken("upstream_died"), error)
    if failure.request_sent == "yes":
        # It may have worked on the prompt, and what it works on it bills.
        return Outcome(Ending("aborted", None, flags=("upstream_died",)), error)
    return Outcome(Ending("void", None, flags=("upstream_unreached",)), error)


def _away(answer: Answer | None, failure: UpstreamFailure, title: str) -> UpstreamFailed:
    if failure.kind in _TIMEOUTS:
        return UpstreamFailed("upstream_timeout", f"{title} did not answer in time.", hint="Try again.")
    what = "could not be reached or went away" if answer is None else "went away in the middle of its answer"
    return UpstreamFailed("upstream_unavailable", f"{title} {what}.", hint="Try again.")


def _redirected(status: int) -> UpstreamFailed:
    return UpstreamFailed(
        "upstream_unavailable",
        f"The upstream answered with status {status}; redirects are not followed.",
        hint="The provider's base_url in the gateway's settings may be wrong.",
    )


def _unreadable() -> UpstreamFailed:
    return UpstreamFailed(
        "upstream_unavailable",
        "The upstream's answer was cut off, or is not from the provider at all.",
        hint="Try again.",
    )
