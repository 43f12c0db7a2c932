"""What an attempt asks of the call it is made for."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol

from gateway.gate.answers import Answer
from gateway.gate.inbound import Downstream, InboundCall

if TYPE_CHECKING:
    from gateway.gate.attempts import Attempt

__all__ = ["Call"]


class Call(Protocol):
    """A call under way; `downstream` is None once the client is gone."""

    inbound: InboundCall
    downstream: Downstream | None

    def began(self, attempt: Attempt, answer: Answer) -> None:
        """A streamed answer begins."""

    def queued(self, attempt: Attempt) -> None:
        """The answer goes on in the background, and its client has heard all there is to say for now."""

    def closed(self, attempt: Attempt) -> None:
        """The attempt's close record is appended."""

    def went_wrong(self, error: BaseException) -> None:
        """A step of the attempt failed."""

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Go on in a task whose failure is the call's."""
