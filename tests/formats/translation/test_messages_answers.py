"""Completions as Anthropic's messages: every recording, in any pieces, as the SDK's own types read them."""

from __future__ import annotations

import json
from itertools import repeat
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gateway.domain.errors import UpstreamFailed
from gateway.domain.usage import input_total, output_total
from gateway.formats.openai_chat import FORMAT
from gateway.formats.sse import EventReader
from gateway.formats.translation.anthropic_to_chat import TRANSLATION
from tests.formats.playing import Case, any_intent
from tests.formats.translation.translating import data_of, played, replies, streams, translated

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "stream": True}
STREAMS = streams("openai_chat", "chat")
REPLIES = replies("openai_chat", "chat")
# What is no chunk or completion of the API: the client is told so.
UNREADABLE = ("stream-broken-utf8",)
READABLE = [each for each in STREAMS if each.values[0] and each.values[0].name not in UNREADABLE]
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def chunks_of(reply: bytes) -> list[Any]:
    """What the stream's own chunks say, read plainly."""
    reader = EventReader()
    events = [event for _, event in (*reader.feed(reply), *reader.close())]
    datas = [event.data.strip() for event in events if event is not None]
    return [json.loads(data) for data in datas if data != b"[DONE]"]


def said_by(chunks: list[Any], *fields: str) -> str:
    """The text that the first choice adds in these fields."""
    texts = []
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                delta = choice.get("delta") or {}
                texts += [delta.get(field) or "" for field in fields]
    return "".join(texts)


def check_usage(told: Any, metered: Any) -> None:
    if not metered:
        return
    read, written = told["cache_read_input_tokens"], told["cache_creation_input_tokens"]
    assert told["input_tokens"] + read + written == input_total(metered)
    assert told["output_tokens"] == output_total(metered)
    assert read == metered.get("cache_read", 0)


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_is_one_of_message_events(case: Case) -> None:
    size = 1 if len(case.reply) < 60_000 else 7_001
    try:
        stream, meter = played(case, FORMAT, TRANSLATION, BODY, repeat(len(case.reply)))
    except UpstreamFailed:
        assert case.name in UNREADABLE
        return
    assert played(case, FORMAT, TRANSLATION, BODY, repeat(size))[0] == stream
    events = data_of(stream)
    for event in events:
        if event["type"] != "error":
            EVENTS.validate_python(event)
    if meter.error is not None:
        assert events[-1]["type"] == "error"
        return
    if case.reply.lstrip().startswith(b"{"):
        assert events
        return
    chunks = chunks_of(case.reply)
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == said_by(chunks, "content", "refusal")
    assert "".join(delta.get("thinking", "") for delta in deltas) == said_by(chunks, "reasoning_content")
    opened = [event["index"] for event in events if event["type"] == "content_block_start"]
    assert opened == list(range(len(opened)))
    if not events or events[-1]["type"] != "message_stop":
        return
    assert opened == [event["index"] for event in events if event["type"] == "content_block_stop"]
    check_usage(events[-2]["usage"], meter.report and meter.report.usage)


@pytest.mark.parametrize("case", READABLE[:6])
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_pieces_change_nothing(case: Case, sizes: list[int]) -> None:
    whole, _ = played(case, FORMAT, TRANSLATION, BODY, repeat(len(case.reply)))
    cut = iter(sizes * (len(case.reply) // sum(sizes) + 1))
    assert played(case, FORMAT, TRANSLATION, BODY, cut)[0] == whole


@pytest.mark.parametrize("case", REPLIES)
def test_a_reply_is_a_message(case: Case) -> None:
    translator = translated(TRANSLATION, BODY).translator
    report, error = FORMAT.read_reply(case.reply, any_intent())
    if error is not None:
        status, body = translator.refusal(None, case.reply)
        assert status >= 400
        assert json.loads(body)["error"]["message"]
        return
    usage = None if report is None else report.usage
    try:
        told = Message.model_validate_json(translator.reply(case.reply, usage))
    except UpstreamFailed:
        assert case.name in UNREADABLE
        return
    message = json.loads(case.reply)["choices"][0]["message"]
    texts = "".join(block.text for block in told.content if block.type == "text")
    assert texts == (message.get("content") or "") + (message.get("refusal") or "")
    assert sum(block.type == "tool_use" for block in told.content) == len(message.get("tool_calls") or ())
    check_usage(told.usage.model_dump(), usage)


def test_calls_that_come_together_are_blocks_of_their_own() -> None:
    def chunk(index: int, text: str, id_: str | None = None) -> bytes:
        call = {"index": index, "id": id_, "function": {"name": id_ and "f", "arguments": text}}
        choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
        return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode() + b"\n\n"

    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    data = chunk(0, "", "a") + chunk(1, '{"x"', "b") + chunk(0, "{}") + chunk(1, ":1}") + end
    stream, _ = played(Case("", None, data, True, {}), FORMAT, TRANSLATION, BODY, repeat(7))
    events = data_of(stream)
    blocks = [event["content_block"]["id"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["a", "b"]
    texts = ["", ""]
    for event in events:
        if event["type"] == "content_block_delta":
            texts[event["index"]] += event["delta"]["partial_json"]
    assert texts == ["{}", '{"x":1}']
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_arguments_that_are_no_json_are_kept_as_they_are() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}
    choice = {"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "length"}
    body = {"id": "x", "choices": [choice]}
    reply = json.loads(translated(TRANSLATION, BODY).translator.reply(json.dumps(body).encode(), None))
    assert reply["content"][0]["input"] == {"INVALID_JSON": '{"x":'}
    assert reply["stop_reason"] == "max_tokens"
