"""Every error code, in every dialect, as the public interface's table says."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from gateway.domain import errors
from gateway.domain.errors import (
    BadRequest,
    BudgetExceeded,
    BudgetHeld,
    GatewayError,
    RateLimited,
    Unavailable,
    UpstreamFailed,
)
from gateway.formats.base import Dialect
from gateway.formats.refusals import REFUSALS, render, render_event, status_of

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]
CODES = [pytest.param(kind, code, id=code) for kind in KINDS for code in kind.codes]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

# The public interface's table: status, OpenAI type and code, Anthropic type, Gemini status.
TABLE = """
invalid_api_key      401 invalid_request_error invalid_api_key       authentication_error  UNAUTHENTICATED
blocked              403 permission_error      blocked               permission_error      PERMISSION_DENIED
model_not_allowed    403 permission_error      model_not_allowed     permission_error      PERMISSION_DENIED
model_not_found      404 invalid_request_error model_not_found       not_found_error       NOT_FOUND
unsupported_endpoint 404 invalid_request_error unsupported_endpoint  not_found_error       NOT_FOUND
call_not_found       404 invalid_request_error call_not_found        not_found_error       NOT_FOUND
price_missing        402 invalid_request_error price_missing         billing_error         FAILED_PRECONDITION
budget_exceeded      429 insufficient_quota    budget_exceeded       rate_limit_error      RESOURCE_EXHAUSTED
budget_held          429 insufficient_quota    budget_held           rate_limit_error      RESOURCE_EXHAUSTED
rate_limit_exceeded  429 requests              rate_limit_exceeded   rate_limit_error      RESOURCE_EXHAUSTED
too_many_in_flight   429 requests              too_many_in_flight    rate_limit_error      RESOURCE_EXHAUSTED
max_tokens_exceeded  400 invalid_request_error max_tokens_exceeded   invalid_request_error INVALID_ARGUMENT
invalid_json         400 invalid_request_error invalid_json          invalid_request_error INVALID_ARGUMENT
invalid_value        400 invalid_request_error invalid_value         invalid_request_error INVALID_ARGUMENT
unsupported_field    400 invalid_request_error unsupported_field     invalid_request_error INVALID_ARGUMENT
request_too_large    413 invalid_request_error request_too_large     request_too_large     INVALID_ARGUMENT
headers_too_large    431 invalid_request_error request_too_large     request_too_large     INVALID_ARGUMENT
idempotency_mismatch 422 invalid_request_error idempotency_mismatch  invalid_request_error INVALID_ARGUMENT
ledger_unavailable   503 server_error          ledger_unavailable    api_error             UNAVAILABLE
draining             503 server_error          draining              api_error             UNAVAILABLE
upstream_unavailable 502 server_error          upstream_unavailable  api_error             UNAVAILABLE
upstream_timeout     504 server_error          upstream_unavailable  api_error             UNAVAILABLE
"""
WAITING_HELPS = {
    "budget_held",
    "draining",
    "ledger_unavailable",
    "rate_limit_exceeded",
    "too_many_in_flight",
    "upstream_rate_limited",
    "upstream_timeout",
    "upstream_unavailable",
}


def error_of(code: str) -> GatewayError:
    kind = next(kind for kind in KINDS if code in kind.codes)
    return kind(code, "what was wrong", hint="how to fix it")


def test_every_code_has_a_row_and_every_row_a_code() -> None:
    assert set(REFUSALS) == {code for kind in KINDS for code in kind.codes}


@pytest.mark.parametrize("line", TABLE.split("\n")[1:-1])
def test_the_table(line: str) -> None:
    code, status, type_, openai_code, anthropic, gemini = line.split()
    error = error_of(code)
    assert status_of(error) == int(status)
    ours = {"code": code, "hint": "how to fix it"}
    assert json.loads(render(error, "openai").body) == {
        "error": {
            "message": "what was wrong",
            "type": type_,
            "param": None,
            "code": openai_code,
            "tollgate": ours,
        }
    }
    assert json.loads(render(error, "anthropic").body) == {
        "type": "error",
        "error": {"type": anthropic, "message": "what was wrong", "tollgate": ours},
    }
    assert json.loads(render(error, "gemini").body) == {
        "error": {"code": int(status), "message": "what was wrong", "status": gemini, "tollgate": ours}
    }


@pytest.mark.parametrize(("kind", "code"), CODES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_sdks_are_told_whether_to_retry(kind: type[GatewayError], code: str, dialect: Dialect) -> None:
    refusal = render(kind(code, "words", retry_after_s=0.25), dialect)
    headers = dict(refusal.headers)
    assert headers["content-type"] == "application/json"
    if code in WAITING_HELPS:
        assert "x-should-retry" not in headers
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("1", "250")
    else:
        assert headers["x-should-retry"] == "false"
        assert "retry-after" not in headers


def test_without_a_time_to_wait_no_time_is_named() -> None:
    assert dict(render(Unavailable("draining", "going away"), "openai").headers) == {
        "content-type": "application/json"
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_errors_fields_are_told(dialect: Dialect) -> None:
    fields = {
        "budget": "search november",
        "cap": "25.00",
        "spent": "24.10",
        "held": "1.20",
        "resets_at": None,
    }
    error = BudgetExceeded("budget_exceeded", "spent", hint="raise the cap", fields=fields)
    told = json.loads(render(error, dialect).body)["error"]["tollgate"]
    assert told == {"code": "budget_exceeded", "hint": "raise the cap", **fields}


def test_the_parameter_is_named_in_openais_shape() -> None:
    error = BadRequest("invalid_value", "wrong", param="messages[0].role")
    assert json.loads(render(error, "openai").body)["error"]["param"] == "messages[0].role"


def test_a_token_limit_is_of_type_tokens() -> None:
    error = RateLimited("rate_limit_exceeded", "too fast", fields={"unit": "tokens"})
    assert json.loads(render(error, "openai").body)["error"]["type"] == "tokens"


def test_googles_sdks_find_the_wait_in_the_details() -> None:
    error = BudgetHeld("budget_held", "held", retry_after_s=1.2)
    assert json.loads(render(error, "gemini").body)["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}
    ]


def test_an_error_inside_a_stream_is_an_event_of_the_dialect() -> None:
    error = UpstreamFailed("upstream_unavailable", "line\none")
    openai, anthropic, gemini = (render_event(error, dialect) for dialect in DIALECTS)
    assert openai == b"data: " + render(error, "openai").body + b"\n\n"
    assert anthropic == b"event: error\ndata: " + render(error, "anthropic").body + b"\n\n"
    assert gemini == b"data: " + render(error, "gemini").body + b"\r\n\r\n"
