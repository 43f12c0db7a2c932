"""The composition root: builds one worker from its settings, in order, and serves it.

    settings -> database -> ledger -> directory -> relay -> gate -> routes

Everything is made here and handed down; nothing below this module looks anything up.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

import gateway.formats
import gateway.formats.translation
import gateway.providers
from gateway.alerts.alerts import Alerts, Outlets
from gateway.api.admin.operations import AdminDeps
from gateway.api.admin.routes import admin_routes
from gateway.api.chat_socket import ChatSocket
from gateway.api.door import back_door
from gateway.api.front import Surfaces, application
from gateway.api.health import Health
from gateway.api.metrics import Metrics
from gateway.api.models import Models
from gateway.api.principals import Principals
from gateway.api.reports import Deps as ReportDeps
from gateway.api.resume import Resume
from gateway.api.running import Running
from gateway.api.self_service import SelfService
from gateway.api.stored_answers import StoredAnswers
from gateway.api.wire import Watch
from gateway.clock import Clock, SystemClock
from gateway.dashboard.routes import dashboard
from gateway.domain.credits import parse_credit
from gateway.domain.errors import Unavailable
from gateway.domain.names import NameGate
from gateway.formats.base import Format
from gateway.formats.translation.base import Translations
from gateway.gate.admission import Desk, Limits
from gateway.gate.belongings import Belongings
from gateway.gate.breakers import BreakerPolicy, Breakers
from gateway.gate.counting import Counters
from gateway.gate.directory import Directory
from gateway.gate.gate import Gate, GateLimits
from gateway.gate.neighbours import Neighbours
from gateway.gate.plans import Router
from gateway.gate.repeatable import exchange_of
from gateway.gate.resumable import LogLimits
from gateway.gate.resumables import ResumableCalls
from gateway.gate.retries import Retries, RetryPolicy
from gateway.ledger.ledger import Ledger
from gateway.loops import expire, for_ever, poll, sweep, tell
from gateway.registry import scan
from gateway.relay.calls import Limits as RelayLimits
from gateway.relay.client import Client
from gateway.sealing import Seal, encryption_key
from gateway.settings import Settings, load
from gateway.store.engine import Database
from gateway.telemetry import CallLog
from gateway.upstreams import connections, routes, unpriced, upstreams

__all__ = ["Application", "create"]

logger = logging.getLogger("tollgate")

START_AGAIN_S = 1.0
SWITCH_S = 0.001
US_PER_S = 1_000_000

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Plane:
    """The data plane as connections see it (`api.wire.DataPlane`)."""

    bounds: Any
    watch: Watch
    formats: dict[bytes, Format]
    exchange: Callable[..., Any]


class Application:
    """The ASGI application of one worker. Its lifespan builds and stops everything."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; `lifespan` is handled here, because the routes need what it builds."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            assert self._app is not None, "the lifespan comes first"
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                plane, self._app = await stack.enter_async_context(worker(self._settings))
            except Unavailable as error:
                # A failed start would have the supervisor stop the workers that go on with their leases.
                logger.error("the worker cannot start, and is started again: %s", error)
                await asyncio.sleep(START_AGAIN_S)
                os._exit(os.EX_TEMPFAIL)
            except Exception as error:
                logger.exception("the worker did not start")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            scope["state"]["data_plane"] = plane
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[tuple[Plane, Starlette]]:
    """Build one worker, run it, and stop it in the reverse order."""
    clock = SystemClock()
    database = Database(settings.database_url)
    ledger = await Ledger.start(
        database,
        Path(settings.server.data_dir),
        clock,
        os.urandom,
        max_journal_bytes=settings.ledger.max_journal_bytes,
        wait_s=settings.ledger.wait_s,
    )
    names = NameGate(settings.limits.new_names_per_hour)
    directory = Directory(database, ledger.budgets_changed, names)
    await directory.refresh()
    client = Client(RelayLimits(), connections=connections(settings))
    belongings = belongings_of(settings, database)
    formats: dict[str, Format] = scan(gateway.formats, "FORMAT")
    gate = gate_of(settings, directory, ledger, client, belongings, database, names, clock, formats)
    watch = Watch(gate.loop.time)
    by_path = {path.encode(): each for each in formats.values() for path in each.paths}
    calls = resumable_calls_of(settings, gate, database)
    neighbours = Neighbours(gate, database, Path(settings.server.data_dir, "workers"))
    alerts = alerts_of(settings, database, clock, gate)
    surfaces = surfaces_of(settings, gate, calls, neighbours, database, clock, formats, alerts)
    loops: tuple[Callable[[], Awaitable[None]], ...] = (
        gate.beat,
        gate.background.run,
        partial(poll, directory),
        partial(sweep, watch),
        partial(expire, database, clock),
        partial(tell, database, gate),
        surfaces.metrics.share,
        surfaces.chat_socket.watch,
        calls.run,
        *alerts.loops(),
    )
    background = [asyncio.create_task(for_ever(each)) for each in loops]
    settle_interpreter()
    plane = Plane(settings.server, watch, by_path, partial(exchange_of, gate, calls, neighbours))
    app = application(surfaces)
    try:
        async with back_door(neighbours, settings.server.advertise, app, plane):
            yield plane, app
    finally:
        gate.drain()
        await gate.quiet()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await alerts.stop()
        await ledger.stop()
        await client.aclose()
        await database.stop()


def belongings_of(settings: Settings, database: Database) -> Belongings:
    """Whose is what is stored at providers."""
    tenancy = settings.tenancy
    return Belongings(database, tenancy.shared_ids, allows_unknown=tenancy.unknown_ids == "allow")


def gate_of(
    settings: Settings,
    directory: Directory,
    ledger: Ledger,
    client: Client,
    belongings: Belongings,
    database: Database,
    names: NameGate,
    clock: Clock,
    formats: Mapping[str, Format],
) -> Gate:
    """The gate, with the configured limits."""
    limits = settings.limits
    router = Router(upstreams(settings), settings.aliases, unpriced(settings), routes(settings))
    caps = Limits(limits.default_output_tokens, limits.min_output_tokens)
    translations = Translations(scan(gateway.formats.translation, "TRANSLATION").values(), formats)
    breakers = Breakers(BreakerPolicy(settings.breaker.failures, round(settings.breaker.open_s * US_PER_S)))
    again = settings.retries
    desk = Desk(directory, router, translations, ledger, names, caps, breakers, random.randrange)
    fallbacks = {name: route.fallbacks for name, route in settings.routes.items()}
    policy = RetryPolicy(again.attempts, again.within_s, again.backoff_s, again.longest_wait_s)
    return Gate(
        desk,
        directory,
        ledger,
        client,
        belongings,
        database,
        Counters(token_table),
        clock,
        Entropy().take,
        CallLog(sys.stderr.buffer),
        GateLimits(limits.drains, limits.drain_s, limits.max_reply_bytes),
        Retries(policy, desk, fallbacks, wait_below_s),
    )


def wait_below_s(most_s: float) -> float:
    """A random wait: callers that failed together do not come back together."""
    return random.uniform(0, most_s)


def alerts_of(settings: Settings, database: Database, clock: Clock, gate: Gate) -> Alerts:
    """Who notices and delivers, with the configured networks and mail server."""
    given = settings.webhooks
    secret = encryption_key(settings.encryption_key, Path(settings.server.data_dir))
    return Alerts(
        database,
        clock,
        os.urandom,
        Seal(secret, "webhook"),
        outlets=Outlets.parse(given.allow_private, given.smtp_url, given.smtp_sender),
        missing_prices=gate.desk.router.missing.take,
        unhealthy=gate.desk.breakers.take_opened,
    )


def resumable_calls_of(settings: Settings, gate: Gate, database: Database) -> ResumableCalls:
    """The calls that outlive their connections, within the configured bounds."""
    kept = settings.resume
    limits = LogLimits(kept.grace_s, kept.keep_s, kept.max_call_bytes, kept.max_bytes)
    return ResumableCalls(gate, database, limits)


def surfaces_of(
    settings: Settings,
    gate: Gate,
    calls: ResumableCalls,
    neighbours: Neighbours,
    database: Database,
    clock: Clock,
    formats: Mapping[str, Format],
    alerts: Alerts,
) -> Surfaces:
    """Everything that Starlette routes."""
    principals = Principals(gate.directory, database, clock)
    secret = encryption_key(settings.encryption_key, Path(settings.server.data_dir))
    admin = AdminDeps(
        database,
        clock,
        os.urandom,
        gate.directory.changed,
        alerts.targets,
        parse_credit(settings.accounts.signup_grant, param="accounts.signup_grant"),
        aliases=settings.aliases,
        providers=tuple(upstream.name for upstream in gate.desk.router.upstreams),
        prices_of={upstream.name: upstream.prices_of for upstream in gate.desk.router.upstreams},
    )
    return Surfaces(
        self_service=SelfService(gate, database, clock, principals, formats),
        stored=StoredAnswers(gate, principals),
        reports=ReportDeps(database, clock, principals.anyone, gate.complete_until),
        admin=admin_routes(admin),
        health=Health(gate, principals),
        metrics=Metrics(gate, clock, Path(settings.server.data_dir, "metrics"), principals.admin_as_known),
        models=Models(gate, clock, principals),
        running=Running(gate, clock, principals),
        chat_socket=ChatSocket(calls, neighbours, formats["openai_chat"], settings.server.allowed_origins),
        resume=Resume(calls, neighbours, principals),
        pages=dashboard(Seal(secret, "session"), gate.loop.time),
    )


class Entropy:
    """Random bytes for ids, drawn from the system in large pieces: a system call for each costs 1 us."""

    PIECE_BYTES = 6_144

    def __init__(self) -> None:
        self._piece = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Fresh bytes; no byte is handed out twice."""
        end = self._at + size
        if end > len(self._piece):
            self._piece, self._at, end = os.urandom(self.PIECE_BYTES), 0, size
        taken = self._piece[self._at : end]
        self._at = end
        return taken


def settle_interpreter() -> None:
    """Keep the collector away from what lives as long as the worker (prices, code), and let it come seldom.

    Calls leave few cycles behind; with the defaults it walked the price table for ever: 15 % of a call.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    # The posting thread may keep the interpreter for no longer than this while a call waits for it.
    sys.setswitchinterval(SWITCH_S)


def token_table(name: str) -> bytes:
    """The gzip table of an encoding, as it ships with the package."""
    return (Path(gateway.formats.__file__).parent / "tables" / f"{name}.tiktoken.gz").read_bytes()


def create() -> Application:
    """The application of one worker process, from the environment; what uvicorn calls."""
    return Application(load(os.environ, os.environ.get("TOLLGATE_CONFIG")))
