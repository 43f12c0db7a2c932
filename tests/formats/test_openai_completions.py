"""Legacy completions: every prompt is completed apart, and every candidate is billed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.base import Intent
from gateway.formats.openai_completions import FORMAT
from tests.formats.playing import CharCounter


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "gpt-3.5-turbo-instruct", **members}).encode()


def read(**members: Any) -> Intent:
    return FORMAT.read("/v1/completions", body_of(**members))


@pytest.mark.parametrize(
    ("members", "choices", "prompt", "text"),
    [
        ({}, 1, 0, ""),
        ({"prompt": "A pier"}, 1, 6, "A pier"),
        ({"prompt": ["A pier", "A quay"]}, 2, 12, "A pier\nA quay"),
        ({"prompt": [5, 6, 7]}, 1, 3, ""),
        ({"prompt": [[5, 6], [7]]}, 2, 3, ""),
        ({"prompt": []}, 1, 0, ""),
        ({"prompt": "A pier", "n": 3}, 3, 6, "A pier"),
        ({"prompt": ["A", "B"], "n": 2, "best_of": 5}, 10, 2, "A\nB"),
        ({"prompt": "A pier", "suffix": " at dawn"}, 1, 14, "A pier\n at dawn"),
    ],
)
def test_prompts_and_candidates(members: dict[str, Any], choices: int, prompt: int, text: str) -> None:
    intent, body = read(**members), body_of(**members)
    assert intent.choices == choices
    assert intent.input_bound >= prompt
    assert FORMAT.prompt_tokens(body, CharCounter()) == prompt
    assert FORMAT.prompt_text(body) == text


def test_without_a_cap_the_endpoint_writes_sixteen_tokens() -> None:
    assert read().output_cap == read(max_tokens=None).output_cap == 16
    assert read(max_tokens=0).output_cap == 0
    assert read(max_tokens=99).output_cap == 99


def test_who_asks_for_what() -> None:
    intent = read(user="ada", stream=True, stream_options={"include_usage": True})
    assert (intent.end_user, intent.stream, intent.wants_usage) == ("ada", True, True)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": {"text": "x"}}, "prompt"),
        ({"prompt": [["x"]]}, "prompt[0][0]"),
        ({"n": 0}, "n"),
        ({"best_of": "2"}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"user": "a\u0000"}, "user"),
    ],
)
def test_what_cannot_be_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


def test_candidates_may_not_be_named_twice() -> None:
    with pytest.raises(BadRequest) as caught:
        FORMAT.read("", b'{"model":"m","prompt":"x","best_of":1,"best_of":20}')
    assert caught.value.param == "best_of"
