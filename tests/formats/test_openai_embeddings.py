"""Embeddings: texts and token numbers alike, alone and several; only the prompt is billed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.base import InBandError, Intent
from gateway.formats.openai_embeddings import FORMAT
from tests.formats.playing import Case, CharCounter, recordings_or_skip

RECORDED = recordings_or_skip("embeddings")
VECTOR = {"object": "embedding", "index": 0, "embedding": "AAAA"}


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "text-embedding-3-small", **members}).encode()


def read(**members: Any) -> Intent:
    return FORMAT.read("/v1/embeddings", body_of(**members))


def reply_of(**members: Any) -> bytes:
    reply = {"object": "list", "data": [VECTOR], "model": "text-embedding-3-small", **members}
    return json.dumps(reply).encode()


@pytest.mark.parametrize(
    ("given", "tokens", "text"),
    [
        ("A pier", 6, "A pier"),
        (["A pier", "A quay"], 12, "A pier\nA quay"),
        ([5, 6, 7], 3, ""),
        ([[5, 6], [7]], 3, ""),
        ([], 0, ""),
        (["A pier", [7]], 7, "A pier"),
    ],
)
def test_every_shape_of_input_is_counted(given: Any, tokens: int, text: str) -> None:
    body = body_of(input=given)
    assert FORMAT.prompt_tokens(body, CharCounter()) == tokens
    assert FORMAT.prompt_text(body) == text
    assert read(input=given).input_bound >= tokens


def test_nothing_is_generated() -> None:
    intent = read(input="A pier", dimensions=8, encoding_format="base64", user="ada")
    assert (intent.output_cap, intent.stream, intent.end_user) == (0, False, "ada")
    assert FORMAT.reply_text(reply_of()) == ""


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "input"),
        ({"input": {"text": "A pier"}}, "input"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": "x", "model": ""}, "model"),
        ({"input": "x", "user": "a\nb"}, "user"),
    ],
)
def test_what_is_no_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**members)
    assert refused.value.param == param


def test_only_the_models_name_is_spliced() -> None:
    body = body_of(input=["model", "A pier"])
    intent = FORMAT.read("", body)
    assert FORMAT.upstream_body(body, intent, intent.model, "max_tokens", 0) == body
    renamed = FORMAT.upstream_body(body, intent, "deployment", "max_tokens", 0)
    assert renamed == body.replace(b'"text-embedding-3-small"', b'"deployment"', 1)


def test_the_prompt_is_what_is_billed() -> None:
    report, error = FORMAT.read_reply(reply_of(usage={"prompt_tokens": 8, "total_tokens": 8}))
    assert report is not None
    assert (report.usage, report.model, report.missing, error) == (
        {"input": 8},
        "text-embedding-3-small",
        (),
        None,
    )


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "total_tokens": 0}, {"prompt_tokens": "8"}])
def test_what_tells_nothing_is_no_report(usage: Any) -> None:
    assert FORMAT.read_reply(reply_of(usage=usage)) == (None, None)


@pytest.mark.parametrize(
    ("reply", "code"),
    [(b"<html>", "unreadable_reply"), (b'{"error":{"message":"no","code":"busy"}}', "busy")],
)
def test_an_error_in_a_200(reply: bytes, code: str) -> None:
    report, error = FORMAT.read_reply(reply)
    assert report is None
    assert isinstance(error, InBandError)
    assert error.code == code


@pytest.mark.parametrize("case", RECORDED)
def test_recording(case: Case) -> None:
    report, error = FORMAT.read_reply(case.reply)
    expected = case.expected["expected_usage"]
    assert (report.usage if report else None) == (expected and {"input": expected["input_total"]})
    assert (error is not None) == (case.expected["error"] is not None)
    assert case.request is not None
    request = json.loads(case.request)
    request.setdefault("model", "deployment")  # Azure may name it in the address
    body = msgspec.json.encode(request)
    intent = FORMAT.read("", body)
    assert expected is None or intent.input_bound >= expected["input_total"]
    assert json.loads(FORMAT.upstream_body(body, intent, "other", "", 0)) == {**request, "model": "other"}
