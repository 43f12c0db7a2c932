"""The bill and the transcript: what a provider would charge for each call, and what reached it.

The bill is kept from the inside: a token is billed when it is generated, whether or not usage is reported,
whether or not the client is still there. Tests compare a gateway's ledger with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["Bill", "BilledCall", "Ending", "SeenRequest", "Transcript"]

# open: still running. complete: every byte was written. error: an error answer. cut: the simulator broke
# off. client_gone: the client left first.
Ending = Literal["open", "complete", "error", "cut", "client_gone"]

_KEPT_REQUESTS: Final = 2_000
_KEPT_BODY: Final = 1_000_000
_SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})


@dataclass(slots=True)
class BilledCall:
    """One call as its provider bills it. Counts are disjoint tokens, so their sums are the totals."""

    id: int
    provider: str
    path: str
    model: str = ""
    served_model: str = ""
    tier: str | None = None
    stream: bool = False
    status: int = 200
    cap: int | None = None
    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    web_search: int = 0
    events: int = 0
    ending: Ending = "open"
    reported: dict[str, Any] | None = None
    response_id: str | None = None

    @property
    def input_total(self) -> int:
        """All input, cached or not."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def output_total(self) -> int:
        """All output, reasoning included."""
        return self.output + self.reasoning

    @property
    def saw_end(self) -> bool:
        """Whether the last byte of the answer was handed to a client that was still there."""
        return self.ending == "complete"

    def forget_input(self) -> None:
        """Bill nothing: the call did not get as far as a model."""
        self.input = self.cache_read = self.cache_write_5m = self.cache_write_1h = self.web_search = 0
        self.reported = None

    def as_json(self) -> dict[str, Any]:
        """Every field, and the totals."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {
            "input_total": self.input_total,
            "output_total": self.output_total,
            "saw_end": self.saw_end,
        }


class Bill:
    """Every call since the start or the last reset, in order of arrival."""

    def __init__(self) -> None:
        self._calls: list[BilledCall] = []
        self._next_id = 1

    def open(self, provider: str, path: str) -> BilledCall:
        """A line for a call that has just arrived; nothing is billed until it is accepted."""
        call = BilledCall(id=self._next_id, provider=provider, path=path)
        self._next_id += 1
        self._calls.append(call)
        return call

    def calls(self) -> list[BilledCall]:
        """All lines, oldest first."""
        return list(self._calls)

    def ended(self) -> int:
        """How many calls have ended, one way or another."""
        return sum(call.ending != "open" for call in self._calls)

    def clear(self) -> None:
        """Forget all lines; ids go on, so that they stay unique."""
        self._calls.clear()


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as it arrived. Of a credential only the last four characters are kept."""

    id: int
    provider: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def as_json(self) -> dict[str, Any]:
        """For the control API; a body over a megabyte is cut, `body_bytes` is its true size."""
        return {
            "id": self.id,
            "provider": self.provider,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": self.body[:_KEPT_BODY].decode("utf-8", "replace"),
            "body_bytes": len(self.body),
        }


class Transcript:
    """The latest requests, without secrets."""

    def __init__(self) -> None:
        self._seen: deque[SeenRequest] = deque(maxlen=_KEPT_REQUESTS)

    def add(self, request: SeenRequest) -> None:
        """Keep one more, and forget the oldest if there are too many."""
        self._seen.append(request)

    def last(self, count: int | None = None) -> list[SeenRequest]:
        """The latest so many, or all, oldest first."""
        seen = list(self._seen)
        return seen if count is None else seen[-count:] if count > 0 else []

    def clear(self) -> None:
        """Forget all."""
        self._seen.clear()


def without_secrets(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Headers with credentials masked to ``***`` and their last four characters."""
    return [_masked(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _masked(name: str, value: str) -> tuple[str, str]:
    return (name, f"***{value[-4:]}") if name in _SECRET_HEADERS else (name, value)
