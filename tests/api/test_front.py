"""The front: how everything that goes wrong behind Starlette is said, in the words of whoever asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.api.front import answer_defect, answer_error, answer_http, answer_nobody
from gateway.domain.errors import NotFound


def asked(path: str, method: str = "GET", **headers: str) -> Request:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": sent, "query_string": b""}
    return Request({**scope, "server": ("gateway", 80), "scheme": "http"})


def body(response: Response) -> Any:
    return json.loads(bytes(response.body))


@pytest.mark.parametrize("status", [404, 405])
async def test_a_path_that_is_not_served_says_so(status: int) -> None:
    response = await answer_http(asked("/v1/else", "PUT"), HTTPException(status))
    error = body(response)["error"]
    assert (response.status_code, error["code"]) == (404, "unsupported_endpoint")
    assert "PUT /v1/else" in error["message"]


async def test_a_long_path_is_not_repeated_in_full() -> None:
    response = await answer_http(asked("/" + "x" * 10_000), HTTPException(404))
    assert len(response.body) < 1_000


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (asked("/v1/key"), ["error", "code"]),
        (asked("/v1/messages/else"), ["error", "type"]),
        (asked("/v1/models", anthropic_version="2023-06-01"), ["error", "type"]),
        (asked("/v1beta/models"), ["error", "status"]),
        (asked("/admin/keys"), ["code"]),
        (asked("/reports/spend"), ["code"]),
    ],
)
async def test_each_surface_has_its_own_words(request_: Request, told: list[str]) -> None:
    error = NotFound("not_found", "There is none.", hint="Look elsewhere.")
    found = body(await answer_error(request_, error))
    for name in told:
        found = found[name]
    assert found in ("not_found", "not_found_error", "NOT_FOUND")


async def test_a_defect_is_said_without_its_details() -> None:
    response = await answer_defect(asked("/v1/key"), ValueError("secret detail"))
    assert response.status_code == 503
    assert b"secret" not in bytes(response.body)


async def test_a_client_that_left_is_no_error_to_log() -> None:
    assert (await answer_nobody(asked("/v1/estimate"), ClientDisconnect())).status_code == 400
