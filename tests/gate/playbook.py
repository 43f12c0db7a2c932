"""One call played as a transcript: what each side says goes in, what each side hears comes out in order.

    play.client()
    play.heard("ledger opens gpt-4.1", "upstream gets POST /v1/chat/completions")
    play.upstream(200, JSON, REPLY)
    play.heard("ledger closes done 60000", "client gets 200 ...")

The gate, the desk, the formats and the exchange are real; the ledger, the upstream and the client write down
what they are told. Nothing happens by itself: the journal writes when the test says so.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import gateway.formats
from gateway.clock import DrivenClock
from gateway.domain.budgets import Budget, Need
from gateway.domain.catalogue import Catalogue
from gateway.domain.errors import GatewayError
from gateway.domain.keys import fingerprint
from gateway.gate.attempts import Attempt
from gateway.gate.belongings import Belongings
from gateway.gate.counting import Counters
from gateway.gate.directory import Caller, Directory
from gateway.gate.exchange import Exchange
from gateway.gate.gate import Gate, GateLimits
from gateway.gate.inbound import InboundCall
from gateway.gate.plans import Upstream
from gateway.gate.retries import Retries, RetryPolicy
from gateway.ledger.ledger import Balance, CallFacts, Closing, Ledger
from gateway.relay.calls import UpstreamFailure
from gateway.relay.client import Client
from gateway.store.engine import Database
from gateway.telemetry import CallLog
from tests.gate.making import KEY_TEXT, NOON_US, Lefts, caller, catalogue, desk, inbound

__all__ = ["JSON", "SSE", "Playbook"]

JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
TABLES = Path(gateway.formats.__file__).parent / "tables"
PATIENCE_S = 60


@dataclass
class Held:
    """A hold of the played ledger."""

    facts: CallFacts
    is_closed: bool = False

    @property
    def call(self) -> str:
        return self.facts.call


class PlayedLedger:
    """Opens and closes what it is told to, and keeps the order of it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._callbacks: list[Callable[[OSError | None], None]] = []
        self.journal_bytes = bytes(8)
        self.holds = _Open({})
        self.poster = _Posted()
        self.must_wait = False
        self.answer: asyncio.Future[None] | None = None  # of a call that waits for headroom
        self.closings: list[Closing] = []
        self.closed = asyncio.Event()
        self.budgets: dict[str, Balance] = {}
        self.told: dict[str, int] = {}  # what becomes known of a budget once its row is read
        self.away: list[Exception] = []  # how the next reads fail

    # What the gate asks.

    def admit(self, facts: CallFacts, needs: Sequence[Need]) -> Held | None:
        return None if self.must_wait else self._open(facts)

    async def acquire(self, facts: CallFacts, needs: Sequence[Need]) -> Held:
        self._say("ledger is asked for headroom")
        if self.answer is None:
            self.answer = asyncio.get_running_loop().create_future()
        try:
            await self.answer
        except asyncio.CancelledError:
            self._say("ledger is asked no more")
            raise
        return self._open(facts)

    def _open(self, facts: CallFacts) -> Held:
        self._say(f"ledger opens {facts.model} holding {facts.hold_nano}")
        hold = Held(facts)
        self.holds.open[facts.attempt] = hold
        return hold

    def check(
        self,
        hold: Held,
        usage: Any,
        charge_nano: int,
        tokens: int,
        made: Sequence[str] = (),
        awaited: str = "",
    ) -> None:
        self._say(f"ledger notes {dict(usage)}" + (f" and awaits {awaited}" if awaited else ""))

    def close(self, hold: Held, closing: Closing) -> bool:
        assert not hold.is_closed, "closed once"
        hold.is_closed = True
        del self.holds.open[hold.facts.attempt]
        self.closings.append(closing)
        self.closed.set()
        flags = f" {','.join(closing.flags)}" if closing.flags else ""
        self._say(f"ledger closes {closing.outcome} {closing.charge_nano}{flags}")
        return True

    def after_write(self, callback: Callable[[OSError | None], None]) -> None:
        self._callbacks.append(callback)

    def left(self, budget: Budget, subject: str, now_us: int) -> int | None:
        state = self.headroom(budget, subject)
        return None if state is None else state.free

    def headroom(self, budget: Budget, subject: str) -> Balance | None:
        return self.budgets.get(budget.id)

    async def balance(self, budget: Budget, subject: str) -> Balance:
        if self.away:
            raise self.away.pop(0)
        self.told[budget.id] = self.budgets[budget.id].free
        return self.budgets[budget.id]

    # What the test says.

    def write(self, failure: OSError | None = None) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(failure)


@dataclass
class _Open:
    open: dict[str, Held]


@dataclass
class _Posted:
    unposted: int = 0


class PlayedUpstream:
    """The relay's client: keeps the request and the listener, and what happens to the handle."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.requests: list[bytes] = []
        self.listener: Any = None

    def send(self, target: Any, request: bytes, listener: Any, timeouts: Any) -> PlayedUpstream:
        self.requests.append(request)
        self.listener = listener
        self._say(f"upstream gets {request.partition(b' HTTP')[0].decode()}")
        return self

    def pause(self) -> None:
        self._say("upstream is paused")

    def resume(self) -> None:
        self._say("upstream is resumed")

    def cancel(self) -> None:
        self._say("upstream is cancelled")


class PlayedClient:
    """The way back to the client."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.fails_at = ""

    def reply(self, status: int, headers: Any, body: bytes) -> None:
        self.headers, self.body = dict(headers), body
        self._hear(f"gets {status}")

    def start(self, status: int, headers: Any) -> None:
        self.headers = dict(headers)
        self._hear(f"gets the head of {status}")

    def write(self, data: bytes) -> None:
        assert data, "an empty chunk would end the answer"
        self.body += data
        self._hear(f"gets {len(data)} bytes")

    def end(self, data: bytes) -> None:
        self.body += data
        self._hear(f"gets the end, {len(data)} bytes")

    def abort(self) -> None:
        self._hear("is cut off")

    def _hear(self, what: str) -> None:
        if self.fails_at and what.startswith(self.fails_at):
            self.fails_at = ""
            raise RuntimeError(f"cannot: {what}")
        self._say(f"client {what}")


class Cellar:
    """What SQL knows of who owns what is stored at providers, by id; and how often it was asked."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.looks = 0
        self.kept: list[Any] = []

    async def write(self, fn: Callable[..., Any], things: Sequence[Any]) -> Any:
        self.kept += things

    async def read(self, fn: Callable[..., Any], upstream: str, ids: Sequence[str]) -> Any:
        self.looks += 1
        return {each: self.owners[each] for each in ids if each in self.owners}


class Phonebook:
    """The directory: one key, known at once or found after a while."""

    def __init__(self, known: Caller) -> None:
        self.catalogue = catalogue()
        self.known: Caller | None = known
        self.found: asyncio.Future[Caller | None] | None = None
        self.budgets: dict[str, Budget] = {}

    def caller(self, key: bytes) -> Caller | None:
        return self.known if key == fingerprint(KEY_TEXT) else None

    async def find(self, key: bytes) -> Caller | None:
        assert self.found is not None
        return await self.found

    def lineage(self, account: str) -> list[str]:
        return [account]

    def budget(self, budget: str) -> Budget | None:
        return self.budgets.get(budget)


@dataclass
class Playbook:
    """A gate with played neighbours, and one call on it. Made inside a running loop."""

    budgets: Sequence[Budget] = ()
    key: dict[str, Any] = field(default_factory=dict)
    drains: int = 1
    drain_s: float = 3_600.0
    attempts: int = 1
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lefts: Lefts = field(default_factory=Lefts)
    catalogue: Catalogue = field(default_factory=catalogue)
    upstreams: Sequence[Upstream] | None = None
    database: Cellar | None = None
    counters: Counters = field(
        default_factory=lambda: Counters(lambda name: (TABLES / f"{name}.tiktoken.gz").read_bytes())
    )

    def __post_init__(self) -> None:
        self.numbers = itertools.count(1)
        self.said: list[str] = []
        say = self.said.append
        self.ledger = PlayedLedger(say)
        self.up = PlayedUpstream(say)
        self.down = PlayedClient(say)
        self.directory = Phonebook(caller(*self.budgets, **self.key))
        self.cellar = self.database or Cellar()
        self.clock = DrivenClock(NOON_US)
        admission = desk(self.lefts, known=self.catalogue, upstreams=self.upstreams)
        self.gate = Gate(
            admission,
            cast(Directory, self.directory),
            cast(Ledger, self.ledger),
            cast(Client, self.up),
            Belongings(cast(Database, self.cellar)),
            cast(Database, self.cellar),
            self.counters,
            self.clock,
            lambda size: next(self.numbers).to_bytes(size, "big"),
            CallLog(None),
            GateLimits(self.drains, self.drain_s, 10_000),
            Retries(
                RetryPolicy(self.attempts, 30.0, 0.0, 5.0),
                admission,
                self.fallbacks,
                lambda most_s: most_s / 2,
            ),
        )
        self.exchange: Exchange

    # What happens.

    def client(self, call: InboundCall | None = None, **fields: Any) -> None:
        """The client sends a call."""
        self.exchange = self.gate.exchange(call or inbound(**fields), self.down)
        self.exchange.begin()

    def write(self, failure: OSError | None = None) -> None:
        """The journal writes what was appended, or cannot."""
        self.ledger.write(failure)

    def sent(self, **fields: Any) -> None:
        """A call up to the upstream, which is nothing to look at."""
        self.client(**fields)
        self.write()
        self.said.clear()

    def upstream(self, status: int, headers: Any, *data: bytes, ends: bool = True) -> None:
        """The upstream answers."""
        self.up.listener.on_response(status, list(headers))
        for each in data:
            self.up.listener.on_data(each)
        if ends:
            self.up.listener.on_end()

    def fails(self, kind: Any = "closed", request_sent: Any = "yes") -> None:
        """The upstream goes away."""
        self.up.listener.on_failed(UpstreamFailure(kind, request_sent, "as played"))

    async def settled(self) -> None:
        """Let the slow ways come to their end."""
        while self.gate.tasks:
            await asyncio.wait(self.gate.tasks)

    async def until(self, line: str) -> None:
        """Let the slow ways go on until this has been said."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while line not in self.said:
            assert loop.time() < deadline, f"{line!r} is not among {self.said}"
            await asyncio.sleep(0)

    @property
    def attempt(self) -> Attempt:
        """The attempt that the upstream answers."""
        attempt: Attempt = self.up.listener
        return attempt

    # What was heard.

    def heard(self, *lines: str) -> None:
        """Assert what was said since the last time, in order."""
        said, self.said[:] = list(self.said), []
        assert said == list(lines)

    @property
    def closing(self) -> Closing:
        """The one close."""
        (closing,) = self.ledger.closings
        return closing

    def refuse_waiting(self, error: GatewayError) -> None:
        """The ledger refuses the call that waits; one that asks again waits anew."""
        answer, self.ledger.answer = self.ledger.answer, None
        assert answer is not None
        answer.set_exception(error)
