"""A meter whose stream goes on in other words.

The meter reads what the upstream sent, and decides what may be relayed and what waits for the close record;
the writer translates what it lets through. So a translated stream is metered, counted, held and cut exactly
as the upstream's own would be.
"""

from __future__ import annotations

from gateway.domain.errors import GatewayError, UpstreamFailed
from gateway.domain.usage import Usage
from gateway.formats.base import Counter, Dialect, InBandError, Report, StreamMeter
from gateway.formats.gemini_reading import UNREADABLE
from gateway.formats.refusals import render_event
from gateway.formats.sse import whole_events
from gateway.formats.translation.base import Writer
from gateway.formats.translation.refusing import unreadable

__all__ = ["TranslatedMeter"]


class TranslatedMeter:
    """See `gateway.formats.base.StreamMeter`."""

    def __init__(self, meter: StreamMeter, writer: Writer, dialect: Dialect) -> None:
        self._meter = meter
        self._writer = writer
        self._dialect = dialect
        self._ending = b""
        self._broken: InBandError | None = None

    @property
    def ended(self) -> bool:
        return self._meter.ended

    @property
    def report(self) -> Report | None:
        return self._meter.report

    @property
    def model(self) -> str | None:
        return self._meter.model

    @property
    def error(self) -> InBandError | None:
        return self._meter.error or self._broken

    @property
    def relayed_output(self) -> int:
        return self._meter.relayed_output

    @property
    def made(self) -> tuple[str, ...]:
        return self._meter.made

    def feed(self, data: bytes) -> bytes:
        relayed = self._meter.feed(data)
        return self._writer.feed(relayed) if relayed else b""

    def finish(self) -> bytes:
        tail = self._meter.finish()
        try:
            if self._meter.error is not None and self._meter.error.code == UNREADABLE:
                raise unreadable()
            tail = self._writer.feed(tail) if tail else b""
            self._ending = self._writer.finish(self._usage())
        except UpstreamFailed as broken:
            # What it used is known all the same; its client is told instead of the end.
            self._broken = InBandError(broken.code, broken.message)
            tail, self._ending = b"", render_event(broken, self._dialect)
        return tail + self._ending

    def fail(self, tail: bytes, error: GatewayError) -> bytes:
        # An answer that broke off has no end of its own, though its text may have been complete.
        return whole_events(tail.removesuffix(self._ending)) + render_event(error, self._dialect)

    def may_exceed(self, cap: int) -> bool:
        return self._meter.may_exceed(cap)

    def count(self, counter: Counter, budget_chars: int) -> bool:
        return self._meter.count(counter, budget_chars)

    def cut(self, usage: Usage | None = None) -> bytes:
        told = self._usage() if usage is None else usage
        return self._writer.feed(self._meter.cut(usage)) + self._writer.finish(told)

    def _usage(self) -> Usage | None:
        report = self._meter.report
        return None if report is None else report.usage
