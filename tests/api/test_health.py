"""Health: whether, for everybody; why not, for administrators."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from starlette.requests import Request

from gateway.api.health import Health
from gateway.api.principals import Principals
from gateway.domain.errors import Unauthenticated, Unavailable
from gateway.gate.gate import Gate, Readiness

REQUEST = Request({"type": "http", "headers": []})


class Doors:
    """Lets administrators in, or nobody, or cannot tell."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def admin_as_known(self, request: Request) -> None:
        if self._error is not None:
            raise self._error


class Ward:
    """A gate in some condition."""

    def __init__(self, is_ready: bool) -> None:
        self._is_ready = is_ready

    def readiness(self) -> Readiness:
        return Readiness(self._is_ready, ["journal: full"], {"unposted": 3})


def health(is_ready: bool, error: Exception | None = None) -> Health:
    return Health(cast(Gate, Ward(is_ready)), cast(Principals, Doors(error)))


async def seen(asked: Health) -> tuple[int, Any]:
    response = await asked.readyz(REQUEST)
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, json.loads(bytes(response.body))


async def test_the_process_answers() -> None:
    assert (await health(False).healthz(REQUEST)).status_code == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
async def test_everybody_may_know_whether_calls_are_taken(is_ready: bool, status: int) -> None:
    for error in (Unauthenticated("invalid_api_key", "No."), Unavailable("ledger_unavailable", "Away.")):
        assert await seen(health(is_ready, error)) == (status, {"ready": is_ready})


async def test_administrators_may_know_why() -> None:
    _, told = await seen(health(False))
    assert told == {"ready": False, "reasons": ["journal: full"], "details": {"unposted": 3}}
