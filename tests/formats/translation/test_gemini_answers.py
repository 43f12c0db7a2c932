"""Gemini's answers as completions: every recording, in any pieces, as the SDK's own types read them."""

from __future__ import annotations

import json
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.domain.errors import UpstreamFailed
from gateway.formats.gemini_generate import FORMAT as WHOLE
from gateway.formats.gemini_stream import FORMAT
from gateway.formats.translation.chat_to_gemini import TRANSLATION
from tests.formats.playing import Case, any_intent
from tests.formats.translation.test_anthropic_answers import FINISHES, check_usage
from tests.formats.translation.translating import data_of, played, replies, streams, translated

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
# An array is what a client asks for that speaks Gemini's dialect; a translated call never does.
STREAMS = [
    each
    for each in streams("gemini_stream", "streamGenerateContent")
    if each.values[0] is None or not each.values[0].reply.lstrip().startswith(b"[")
]
REPLIES = replies("gemini_generate", "generateContent")
# What is no response of the API: the client is told so.
UNREADABLE = ("stream-members-of-wrong-types", "stream-broken-utf8", "reply-broken-utf8")


def responses_of(reply: bytes) -> list[Any]:
    """What the stream's own events say, read plainly."""
    lines = [line.strip() for line in reply.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line[5:]) for line in lines]


def parts_of(responses: list[Any], index: int = 0) -> list[Any]:
    candidates = [each for response in responses for each in response.get("candidates") or ()]
    return [
        part
        for candidate in candidates
        if candidate.get("index", 0) == index
        for part in (candidate.get("content") or {}).get("parts") or ()
    ]


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_is_one_of_completion_chunks(case: Case) -> None:
    size = 1 if len(case.reply) < 60_000 else 7_001
    try:
        stream, meter = played(case, FORMAT, TRANSLATION, BODY, repeat(len(case.reply)))
    except UpstreamFailed:
        assert case.name in UNREADABLE
        return
    assert played(case, FORMAT, TRANSLATION, BODY, repeat(size))[0] == stream
    events = data_of(stream)
    chunks = [ChatCompletionChunk.model_validate(event) for event in events if "error" not in event]
    if meter.error is not None:
        assert events[-1]["error"]["message"]
        assert b"[DONE]" not in stream
        return
    if case.reply.lstrip().startswith(b"{"):
        assert chunks
        return
    parts = parts_of(responses_of(case.reply))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices if choice.index == 0]
    said = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    assert "".join(delta.content or "" for delta in deltas) == "".join(said)
    thought = [part["text"] for part in parts if "text" in part and part.get("thought")]
    told = [(delta.model_extra or {}).get("reasoning_content", "") for delta in deltas]
    assert "".join(told) == "".join(thought)
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    called = [part["functionCall"] for part in parts if "functionCall" in part]
    assert [call.function and call.function.name for call in calls] == [each["name"] for each in called]
    for call, each in zip(calls, called, strict=True):
        assert call.function is not None
        assert json.loads(call.function.arguments or "") == each.get("args", {})
    if not stream.endswith(b"data: [DONE]\n\n"):
        assert not any("finishReason" in part for part in responses_of(case.reply))
        return
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert finishes
    assert set(finishes) <= set(FINISHES)
    if called and finishes == ["stop"]:
        raise AssertionError("functions were called")
    check_usage(chunks[-1].usage, meter.report and meter.report.usage)


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
    report, error = WHOLE.read_reply(case.reply, any_intent())
    if error is not None or case.reply.lstrip().startswith(b"["):
        status, body = translator.refusal(None, case.reply)
        assert status >= 400
        assert json.loads(body)["error"]["message"]
        return
    usage = None if report is None else report.usage
    try:
        told = ChatCompletion.model_validate_json(translator.reply(case.reply, usage))
    except UpstreamFailed:
        assert case.name in UNREADABLE or "candidates" not in json.loads(case.reply)
        return
    parts = parts_of([json.loads(case.reply)])
    said = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    assert (told.choices[0].message.content or "") == "".join(said)
    called = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
    assert len(told.choices[0].message.tool_calls or ()) == len(called)
    check_usage(told.usage, usage)


def test_signatures_are_kept_where_google_keeps_them() -> None:
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    text = {"text": "x", "thoughtSignature": "dGV4dA=="}
    body = json.dumps({"candidates": [{"content": {"parts": [text, call, call]}, "finishReason": "STOP"}]})
    reply = json.loads(translated(TRANSLATION, BODY).translator.reply(body.encode(), None))
    message = reply["choices"][0]["message"]
    assert message["extra_content"]["google"]["thought_signature"] == "dGV4dA=="
    first, second = message["tool_calls"]
    assert first["extra_content"]["google"]["thought_signature"] == "c2ln"
    assert first["id"] != second["id"]
    assert reply["choices"][0]["finish_reason"] == "tool_calls"


def test_probabilities_are_told() -> None:
    token = {"token": "é", "logProbability": -0.5}
    result = {"chosenCandidates": [token], "topCandidates": [{"candidates": [token]}]}
    candidate = {"content": {"parts": [{"text": "é"}]}, "finishReason": "STOP", "logprobsResult": result}
    body = json.dumps({"candidates": [candidate]}).encode()
    reply = ChatCompletion.model_validate_json(translated(TRANSLATION, BODY).translator.reply(body, None))
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert logprobs.content[0].bytes == [195, 169]
    assert logprobs.content[0].top_logprobs[0].logprob == -0.5
