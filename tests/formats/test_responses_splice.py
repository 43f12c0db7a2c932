"""Three places of a Responses request may be changed; every other byte stays."""

from __future__ import annotations

import json

import pytest

from gateway.formats.openai_responses import FORMAT
from gateway.formats.responses_tools import TOOL_CALLS_MAX as MOST

SEARCHING = b'"tools":[{"type":"web_search"}]'


def spliced(body: bytes, model: str = "gpt-5.2", cap: int = 100) -> bytes:
    return FORMAT.upstream_body(body, FORMAT.read("", body), model, "max_tokens", cap)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"gpt-5.2","input":"x"}', b'{"max_output_tokens":100,"model":"gpt-5.2","input":"x"}'),
        (
            b'{"model":"gpt-5.2", "max_output_tokens": null}',
            b'{"model":"gpt-5.2", "max_output_tokens": 100}',
        ),
        (b'{"model":"gpt-5.2","max_output_tokens":500}', b'{"model":"gpt-5.2","max_output_tokens":100}'),
        (b'{"model":"gpt-5.2","max_output_tokens":50}', b'{"model":"gpt-5.2","max_output_tokens":50}'),
        (
            b'{"model":"gpt-5.2","max_output_tokens":50,%b}' % SEARCHING,
            b'{"max_tool_calls":%d,"model":"gpt-5.2","max_output_tokens":50,%b}' % (MOST, SEARCHING),
        ),
        (
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":null,%b}' % SEARCHING,
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":%d,%b}' % (MOST, SEARCHING),
        ),
        (
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":3,%b}' % SEARCHING,
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":3,%b}' % SEARCHING,
        ),
        (
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":null}',
            b'{"model":"gpt-5.2","max_output_tokens":50,"max_tool_calls":null}',
        ),
    ],
)
def test_caps(body: bytes, expected: bytes) -> None:
    assert spliced(body) == expected


def test_the_models_name() -> None:
    body = b'{ "input":"gpt-5.2", "model" : "fast", "max_output_tokens":5 }'
    assert spliced(body, model='a"b') == body.replace(b'"fast"', b'"a\\"b"')


def test_all_at_once_in_any_order() -> None:
    body = b'{%b,"max_output_tokens":900,"input":"x","model":"fast"}' % SEARCHING
    told = json.loads(spliced(body, model="gpt-5.2"))
    assert told == {
        "tools": [{"type": "web_search"}],
        "max_tool_calls": MOST,
        "max_output_tokens": 100,
        "input": "x",
        "model": "gpt-5.2",
    }
