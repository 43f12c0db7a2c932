from __future__ import annotations

import json

import pytest

from gateway.api.chat_requests import Ask, Cancel, Ping, Resume, read_frame
from gateway.domain.errors import BadRequest


def test_a_request_becomes_a_stream_without_what_is_ours() -> None:
    text = '{"model":"m","temperature":0.70,"request_id":"r","idempotency_key":"k","messages":[]}'
    wish = read_frame(text)
    assert isinstance(wish, Ask)
    assert (wish.request_id, wish.idempotency_key) == ("r", "k")
    assert wish.body == b'{"model":"m","temperature":0.70,"messages":[],"stream":true}'


@pytest.mark.parametrize("fields", [{"stream": True}, {"stream": None}, {"n": 1}, {"n": None}, {}])
def test_what_says_nothing_else_is_a_stream_of_one(fields: dict[str, object]) -> None:
    wish = read_frame(json.dumps({"model": "m", **fields}))
    assert isinstance(wish, Ask)
    assert json.loads(wish.body)["stream"] is True


def test_the_other_frames() -> None:
    assert read_frame('{"type":"ping"}') == Ping()
    assert read_frame('{"type":"cancel","call":"call_1"}') == Cancel("call_1")
    assert read_frame('{"type":"resume","call":"call_1","after":17}') == Resume("call_1", 17, None)
    assert read_frame('{"type":"resume","call":"call_1","request_id":"r"}') == Resume("call_1", 0, "r")


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("\ud800", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"stream":false}', "invalid_value", "stream"),
        ('{"stream":"yes"}', "invalid_value", "stream"),
        ('{"n":2}', "invalid_value", "n"),
        ('{"type":"zork"}', "invalid_value", "type"),
        ('{"type":7}', "invalid_value", "type"),
        ('{"type":"resume"}', "invalid_value", "call"),
        ('{"type":"resume","call":"c","after":-1}', "invalid_value", "after"),
        ('{"type":"resume","call":"c","after":"x"}', "invalid_value", "after"),
        ('{"type":"cancel","call":""}', "invalid_value", "call"),
        ('{"request_id":5}', "invalid_value", "request_id"),
        ('{"idempotency_key":"' + "k" * 129 + '"}', "invalid_value", "idempotency_key"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_by_name(text: str, code: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as refused:
        read_frame(text)
    assert (refused.value.code, refused.value.param) == (code, param)
