"""What may be changed of a Messages request; every other byte stays."""

from __future__ import annotations

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.anthropic_messages import FORMAT

HEAD = b'{ "messages":[{"role":"user","content":"max_tokens"}] , "model" : "fast",'


def spliced(rest: bytes, model: str = "fast", cap: int = 100) -> bytes:
    body = HEAD + rest
    return FORMAT.upstream_body(body, FORMAT.read("", body), model, "max_completion_tokens", cap)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b'"max_tokens":50}', b'"max_tokens":50}'),
        (b'"max_tokens" : 500 }', b'"max_tokens" : 100 }'),
        # Thinking is part of the cap, and has to stay below it.
        (
            b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000}}',
            b'"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1999}}',
        ),
        (
            b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":1500}}',
            b'"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1500}}',
        ),
        (
            b'"max_tokens":9000,"fallbacks":[{"model":"b","max_tokens":9000},{"model":"c"},{"model":"d","max_tokens":null}]}',
            b'"max_tokens":2000,"fallbacks":[{"model":"b","max_tokens":2000},{"model":"c"},{"model":"d","max_tokens":null}]}',
        ),
    ],
)
def test_caps(rest: bytes, expected: bytes) -> None:
    assert spliced(rest, cap=2_000 if b"9000" in rest else 100) == HEAD + expected


def test_a_budget_that_the_cap_has_no_room_for_is_the_providers_to_refuse() -> None:
    rest = b'"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000}}'
    assert spliced(rest, cap=500) == HEAD + rest.replace(b"9000", b"500")


def test_the_models_name() -> None:
    assert spliced(b'"max_tokens":5}', model='a"b') == (HEAD + b'"max_tokens":5}').replace(
        b'"fast"', b'"a\\"b"'
    )


@pytest.mark.parametrize(
    "rest",
    [
        b'"max_tokens":9,"thinking":{"type":"enabled","budget_tokens":1024,"budget_tokens":2048}}',
        b'"max_tokens":9,"fallbacks":[{"model":"b","max_tokens":1,"max_tokens":2}]}',
    ],
)
def test_what_is_spliced_is_said_once(rest: bytes) -> None:
    with pytest.raises(BadRequest, match="2 times"):
        spliced(rest)
