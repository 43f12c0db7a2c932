"""A running admin plane on each database, and a client that speaks to it over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import uvicorn
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette
from starlette.routing import Route

import gateway.alerts.channels
from gateway.alerts.egress import Egress
from gateway.alerts.targets import Targets
from gateway.api.admin.operations import AdminDeps
from gateway.api.admin.routes import OPERATIONS, admin_routes
from gateway.api.openapi import document
from gateway.clock import DrivenClock
from gateway.domain.credits import Credit
from gateway.domain.networks import parse_networks
from gateway.registry import scan
from gateway.relay.dialing import look_up
from gateway.sealing import Seal
from gateway.store.admin_keys import create_admin_key, ensure_first_admin_key
from gateway.store.engine import Database
from tests.databases import backend, migrated_database, postgres, sqlite_template

__all__ = ["backend", "migrated_database", "postgres", "sqlite_template"]

MoreRoutes = Callable[[AdminDeps], list[Route]]

OWNER = "owner-key-of-the-tests"
# 2026-11-25T04:00:00Z.
START_US = 1_795_579_200_000_000


def documented_statuses(method: str, path: str) -> set[str] | None:
    """What `/openapi.json` says the operation may answer; None where it has no such operation."""
    for pattern, methods in DOCUMENTED:
        if pattern.fullmatch(path) and method.lower() in methods:
            return set(methods[method.lower()]["responses"])
    return None


DOCUMENTED = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods)
    for path, methods in sorted(document(OPERATIONS)["paths"].items(), key=lambda item: item[0].count("{"))
]


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Plane:
    """The running plane as a client sees it."""

    port: int
    engine: Engine
    clock: DrivenClock
    changed: list[str] = field(default_factory=list)

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = OWNER,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"authorization": f"Bearer {key}", **(headers or {})}
        if method in ("POST", "PATCH"):
            sent.setdefault("content-type", "application/json")
        data = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = self.raw(method, path, data, sent)
        documented = documented_statuses(method, path.partition("?")[0])
        assert documented is None or str(answer.status) in documented, (method, path, answer)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        """The answer to a read that must succeed."""
        answer = self.call("GET", path, **options)
        assert answer.status == 200, answer.body
        return answer.json

    def post(self, path: str, body: Any, **options: Any) -> Any:
        """The answer to a POST that must succeed."""
        answer = self.call("POST", path, body, **options)
        assert answer.status in (200, 201), answer.body
        return answer.json

    def patch(self, path: str, body: Any, **options: Any) -> Any:
        """The answer to a PATCH that must succeed."""
        answer = self.call("PATCH", path, body, **options)
        assert answer.status == 200, answer.body
        return answer.json

    def delete(self, path: str, **options: Any) -> None:
        """A DELETE that must succeed."""
        answer = self.call("DELETE", path, **options)
        assert answer.status == 204, answer.body

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The problem that stands in a request's way."""
        answer = self.call(method, path, body, **options)
        assert answer.headers["content-type"] == "application/problem+json", answer.body
        problem = answer.json
        assert problem["status"] == answer.status
        assert problem["hint"]
        return problem


def targets() -> Targets:
    """Where alerts may go: this machine, and whatever is public."""
    egress = Egress(parse_networks(["127.0.0.0/8"]), look_up)
    channels = scan(gateway.alerts.channels, "CHANNEL")
    return Targets(channels, Seal("an encryption key", "webhook"), egress, os.urandom, mails=True)


@pytest.fixture
def signup_grant() -> Credit | None:
    """What new accounts are given; a test that wants some overrides this."""
    return None


@pytest.fixture
def more_routes() -> MoreRoutes:
    """Routes to serve beside the admin plane's; a test that wants some overrides this."""
    return lambda deps: []


@pytest.fixture
def plane(migrated_database: str, signup_grant: Credit | None, more_routes: MoreRoutes) -> Iterator[Plane]:
    """A plane on a database with the tables and one owner's key."""
    engine = create_engine(migrated_database, poolclass=NullPool)
    with engine.begin() as conn:
        ensure_first_admin_key(conn, OWNER, START_US)
        for role in ("operator", "finance", "viewer"):
            create_admin_key(
                conn,
                key_id=f"akey_{role}",
                name=role,
                role=role,
                text=f"{role}-key-of-the-tests",
                now_us=START_US,
            )
    database = Database(migrated_database)
    clock, changed = DrivenClock(START_US), list[str]()
    deps = AdminDeps(
        database=database,
        clock=clock,
        entropy=os.urandom,
        changed=changed.append,
        targets=targets(),
        signup_grant=signup_grant,
    )
    served = Starlette(routes=[*admin_routes(deps), *more_routes(deps)])
    config = uvicorn.Config(served, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in itertools.count():
        if server.started:
            break
        thread.join(0.005)
        assert thread.is_alive(), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Plane(port, engine, clock, changed)
    server.should_exit = True
    thread.join()
    asyncio.run(database.stop())
