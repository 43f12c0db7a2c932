"""A running admin plane, and the command line run against it in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.routing import Route

from gateway.api import focus, reports
from gateway.api.admin.operations import AdminDeps
from gateway.cli.main import main
from gateway.domain.errors import Unauthenticated
from gateway.domain.keys import fingerprint
from gateway.domain.tenancy import AdminKey
from gateway.store.admin_keys import admin_by_fingerprint
from tests.api.admin.conftest import OWNER, MoreRoutes, Plane, plane, signup_grant
from tests.databases import backend, empty_database, migrated_database, postgres, sqlite_template

__all__ = [
    "backend",
    "empty_database",
    "migrated_database",
    "plane",
    "postgres",
    "signup_grant",
    "sqlite_template",
]


@dataclass
class Run:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Tollgate = Callable[..., Run]


@pytest.fixture
def more_routes() -> MoreRoutes:
    """Reports, for `tollgate report`."""

    def served(deps: AdminDeps) -> list[Route]:
        async def authenticate(request: Request) -> AdminKey:
            text = request.headers["authorization"].removeprefix("Bearer ")
            found = await deps.database.read(admin_by_fingerprint, fingerprint(text))
            if found is None:
                raise Unauthenticated("invalid_api_key", "Unknown.", hint="Use another.")
            return found

        asked = reports.Deps(deps.database, deps.clock, authenticate, lambda conn: deps.clock.now_us())
        return [*focus.routes(asked), *reports.routes(asked)]

    return served


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Tollgate:
    """Run a command with an environment; it must end by itself."""

    def command(*arguments: str, environ: Mapping[str, str]) -> Run:
        status = main(arguments, environ, {})
        printed = capsys.readouterr()
        return Run(status, printed.out, printed.err)

    return command


@pytest.fixture
def tollgate(plane: Plane, run: Tollgate) -> Tollgate:
    """Run a command against the plane, as its owner."""
    environ = {"TOLLGATE_URL": f"http://127.0.0.1:{plane.port}", "TOLLGATE_ADMIN_KEY": OWNER}
    return lambda *arguments, status=0, **more: expect(run(*arguments, environ={**environ, **more}), status)


def expect(result: Run, status: int) -> Run:
    assert result.status == status, (result.out, result.err)
    return result
