"""Anthropic's answers as completions: every recording, in any pieces, as the SDK's own types read them."""

from __future__ import annotations

import json
from itertools import repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.domain.errors import UpstreamFailed
from gateway.domain.usage import input_total, output_total
from gateway.formats.anthropic_blocks import reply_texts
from gateway.formats.anthropic_messages import FORMAT
from gateway.formats.translation.chat_to_anthropic import TRANSLATION
from tests.formats.playing import Case, any_intent, cases
from tests.formats.translation.translating import data_of, played, replies, streams, translated

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
STREAMS = streams("anthropic_messages", "messages", "streamRawPredict")
REPLIES = replies("anthropic_messages", "messages")
# Events that are no events of the API: the stream ends in an error of ours.
UNREADABLE = ("stream-wrong-types", "stream-broken-utf8")
FINISHES = ("stop", "length", "tool_calls", "content_filter")


def blocks_of(case: Case) -> dict[str, list[str]]:
    """What the stream's own events say, read plainly."""
    texts: dict[str, list[str]] = {"text": [], "thinking": [], "tool_use": []}
    kinds: dict[int, str] = {}
    for line in case.reply.decode().splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        if event["type"] == "content_block_start":
            kinds[event["index"]] = event["content_block"]["type"]
            texts["text"].append(event["content_block"].get("text") or "")
            if event["content_block"]["type"] == "tool_use":
                texts["tool_use"].append(event["content_block"]["name"])
        elif event["type"] == "content_block_delta":
            texts["text"].append(event["delta"].get("text", ""))
            texts["thinking"].append(event["delta"].get("thinking", ""))
    return texts


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_is_one_of_completion_chunks(case: Case) -> None:
    size = 1 if len(case.reply) < 60_000 else 7_001
    if case.name in UNREADABLE:
        for pieces in (size, len(case.reply)):
            with pytest.raises(UpstreamFailed):
                played(case, FORMAT, TRANSLATION, BODY, repeat(pieces))
        return
    stream, meter = played(case, FORMAT, TRANSLATION, BODY, repeat(len(case.reply)))
    assert played(case, FORMAT, TRANSLATION, BODY, repeat(size))[0] == stream
    events = data_of(stream)
    chunks = [ChatCompletionChunk.model_validate(event) for event in events if "error" not in event]
    if meter.error is not None:
        assert events[-1]["error"]["message"]
        assert not stream.endswith(b"data: [DONE]\n\n")
        return
    if case.reply.lstrip().startswith(b"{"):
        assert chunks
        return
    said = blocks_of(case)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "".join(said["text"])
    thoughts = [(delta.model_extra or {}).get("reasoning_content", "") for delta in deltas]
    assert "".join(thoughts) == "".join(said["thinking"])
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.function.name for call in calls if call.function and call.function.name] == said["tool_use"]
    if not meter.ended:
        return
    assert stream.endswith(b"data: [DONE]\n\n")
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason][-1] in FINISHES
    for index in {call.index for call in calls}:
        arguments = "".join(
            call.function.arguments or "" for call in calls if call.index == index and call.function
        )
        if case.name.find("max-tokens") < 0:
            json.loads(arguments)
    check_usage(chunks[-1].usage, meter.report and meter.report.usage)


def check_usage(told: Any, metered: Any) -> None:
    if not metered:
        return
    assert told.prompt_tokens == input_total(metered)
    assert told.completion_tokens == output_total(metered)
    assert told.prompt_tokens_details.cached_tokens == metered.get("cache_read", 0)
    assert told.completion_tokens_details.reasoning_tokens == metered.get("reasoning", 0)


@pytest.mark.parametrize("case", STREAMS[:6])
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_pieces_change_nothing(case: Case, sizes: list[int]) -> None:
    whole, _ = played(case, FORMAT, TRANSLATION, BODY, repeat(len(case.reply)))
    cut = iter(sizes * (len(case.reply) // sum(sizes) + 1))
    assert played(case, FORMAT, TRANSLATION, BODY, cut)[0] == whole


@pytest.mark.parametrize("case", REPLIES)
def test_a_reply_is_a_completion(case: Case) -> None:
    translator = translated(TRANSLATION, BODY).translator
    report, error = FORMAT.read_reply(case.reply, any_intent())
    if error is not None or report is None:
        status, body = translator.refusal(None, case.reply)
        assert status >= 400
        assert msgspec.json.decode(body)["error"]["message"]
        return
    told = ChatCompletion.model_validate_json(translator.reply(case.reply, report.usage))
    message = json.loads(case.reply)
    texts = [block["text"] for block in message["content"] if block["type"] == "text"]
    assert (told.choices[0].message.content or "") == "".join(texts)
    assert set(texts) <= set(reply_texts(case.reply))
    check_usage(told.usage, report.usage)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"content":{}}', b'{"content":[{"type":7}]}', b"\xff"])
def test_what_is_no_message_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        translated(TRANSLATION, BODY).translator.reply(body, None)
    assert translated(TRANSLATION, BODY).translator.refusal(502, body)[0] == 502


def test_a_stream_that_is_cut_ends_at_its_cap() -> None:
    case = next(case for case in cases("anthropic_messages") if case.streamed)
    translator = translated(TRANSLATION, BODY).translator
    half = case.reply[: len(case.reply) // 2]
    stream, meter = played(
        Case(case.name, None, half, True, {}), FORMAT, TRANSLATION, BODY, repeat(len(half))
    )
    assert not stream.endswith(b"data: [DONE]\n\n")
    assert translator.dialect == "openai"
    ending = meter.cut({"input": 5, "output": 7})
    assert ending.endswith(b"data: [DONE]\n\n")
    assert data_of(ending)[-2]["choices"][0]["finish_reason"] == "length"
    assert data_of(ending)[-1]["usage"]["total_tokens"] == 12
