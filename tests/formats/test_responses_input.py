"""The text of a Responses request, as it is counted where an answer tells no usage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.formats.responses_input import prompt_texts, prompt_tokens
from tests.formats.playing import CharCounter


def texts(**members: Any) -> list[list[str]]:
    return prompt_texts(json.dumps({"model": "m", **members}).encode())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"input": "A pier"}, [["A pier"]]),
        ({"input": "A pier", "instructions": "Be brief."}, [["A pier"], ["Be brief."]]),
        ({"input": [{"role": "user", "content": "A pier"}]}, [["user", "A pier"]]),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "A pier"}]}]},
            [["user", "A pier"]],
        ),
        ({"input": [{"type": "function_call_output", "output": "high water"}]}, [["high water"]]),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": ""}]}]}, [["user"]]),
        ({"input": None}, []),
        ({"input": "x", "tools": [{"type": "function"}]}, [["x"], ['[{"type":"function"}]']]),
        ({"input": "x", "text": {"format": {"type": "text"}}}, [["x"], ['{"type":"text"}']]),
    ],
)
def test_texts(members: dict[str, Any], expected: list[list[str]]) -> None:
    assert texts(**members) == expected


def test_each_item_has_a_frame() -> None:
    body = b'{"input":[{"role":"user","content":"A pier"},{"role":"user","content":"A quay"}]}'
    assert prompt_tokens(body, CharCounter()) == 3 + 2 * (3 + 4 + 6)


def test_what_nests_beyond_reason_is_read_as_its_bytes() -> None:
    body = b'{"input":[' + b'{"content":[' * 400 + b"]}" * 400 + b"]}"
    assert prompt_tokens(body, CharCounter()) >= 3
