"""Chat requests in Gemini's words, and what cannot be said there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.gemini_generate import FORMAT
from gateway.formats.translation.chat_to_gemini import TRANSLATION
from tests.formats.translation.translating import translated

HI: Any = {"role": "user", "content": "hi"}
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def said(*messages: Any, model: str = "gemini-2.5-flash", **fields: Any) -> Any:
    made = translated(TRANSLATION, {"messages": list(messages) or [HI], **fields}, model)
    assert FORMAT.read(made.path, made.body).model == model
    return msgspec.json.decode(made.body)


def call(id_: str, name: str, **fields: Any) -> Any:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": '{"x":1}'}, **fields}


def test_turns_alternate_and_results_are_in_the_order_of_their_calls() -> None:
    made = said(
        {"role": "system", "content": "One."},
        HI,
        {"role": "assistant", "content": "Hm.", "tool_calls": [call("a", "f"), call("b", "g")]},
        {"role": "tool", "tool_call_id": "b", "content": "second"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "first"}]},
        {"role": "user", "content": "and?"},
    )
    assert made["systemInstruction"] == {"parts": [{"text": "One."}]}
    assert [content["role"] for content in made["contents"]] == ["user", "model", "user"]
    assert made["contents"][2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "first"}}},
        {"functionResponse": {"name": "g", "response": {"output": "second"}}},
        {"text": "and?"},
    ]
    assert "thoughtSignature" not in made["contents"][1]["parts"][1]


def test_signatures_go_back_and_a_lost_one_is_stood_in_for() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    turn = {"role": "assistant", "tool_calls": [call("a", "f", **signed), call("b", "g")]}
    results = [{"role": "tool", "tool_call_id": each, "content": "x"} for each in "ab"]
    parts = said(HI, turn, *results, model="gemini-3-flash-preview")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["c2ln", None]
    turn["tool_calls"] = [call("a", "f"), call("b", "g")]
    parts = said(HI, turn, *results, model="gemini-3-flash-preview")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]


def test_media_are_sent_as_they_came() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC"}},
    ]
    assert said({"role": "user", "content": parts})["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": "https://example.com/a.png?x=1", "mimeType": "image/png"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "BBBB"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
    ]


def test_the_configuration() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    config = said(
        max_completion_tokens=9,
        n=2,
        stop="x",
        temperature=1.5,
        top_p=0.5,
        seed=0,
        presence_penalty=0.5,
        logprobs=True,
        top_logprobs=3,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )["generationConfig"]
    assert config == {
        "maxOutputTokens": 9,
        "candidateCount": 2,
        "stopSequences": ["x"],
        "temperature": 1.5,
        "topP": 0.5,
        "seed": 0,
        "presencePenalty": 0.5,
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert "generationConfig" not in said()
    config = said(response_format={"type": "json_object"})["generationConfig"]
    assert config == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_effort_is_a_budget_or_a_level(model: str, effort: str, thinking: Any) -> None:
    made = said(model=model, reasoning_effort=effort)
    assert made["generationConfig"]["thinkingConfig"] == thinking


@pytest.mark.parametrize(
    ("fields", "calling"),
    [
        ({"tool_choice": "required"}, {"mode": "ANY"}),
        ({"tool_choice": "none"}, {"mode": "NONE"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, {"mode": "VALIDATED"}),
    ],
)
def test_the_choice_of_tools(fields: Any, calling: Any) -> None:
    assert said(**{"tools": [TOOL], **fields})["toolConfig"] == {"functionCallingConfig": calling}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOL], "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"stop": list("abcdef")}, "stop[5]"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"reasoning_effort": "none", "model": "gemini-2.5-pro"}, "reasoning_effort"),
        ({"brand_new": 1}, "brand_new"),
    ],
)
def test_what_cannot_be_said_is_named(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        said(**fields)
    assert (raised.value.code, raised.value.param) == ("unsupported_field", param)


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(BadRequest) as raised:
        said(HI, {"role": "tool", "tool_call_id": "a", "content": "x"})
    assert raised.value.param == "messages[1].tool_call_id"
