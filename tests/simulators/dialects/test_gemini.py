"""The official SDK against the simulated Gemini: answers, usage, both streams and refusals as recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from gateway.simulators import SimulatedProviders
from tests.simulators.raw import Heard, connect, hear, request_bytes

MODEL = "gemini-2.5-flash"
WEATHER = types.FunctionDeclaration(
    name="get_weather",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}
    ),
)
TOOLS = [types.Tool(function_declarations=[WEATHER])]


@pytest.fixture
def client(providers: SimulatedProviders) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=providers.url("gemini"))
    with genai.Client(api_key="AIza-anything", http_options=options) as client:
        yield client


def post(providers: SimulatedProviders, verb: str, body: Any, query: str = "") -> Heard:
    path = f"/gemini/v1beta/models/{MODEL}:{verb}{query}"
    with connect(providers) as sock:
        sock.sendall(request_bytes(path, body, {"x-goog-api-key": "k"}))
        return hear(sock)


def said(text: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def test_answers_with_usage_equal_to_the_bill(providers: SimulatedProviders, client: genai.Client) -> None:
    answer = client.models.generate_content(model=MODEL, contents="Hello [[sim: words=9 cached=50]]")
    [billed] = providers.bill()
    usage = answer.usage_metadata
    assert usage is not None
    assert answer.text
    assert answer.model_version == billed.served_model == MODEL
    assert usage.prompt_token_count == billed.input_total
    assert usage.cached_content_token_count == billed.cache_read == 50
    assert usage.candidates_token_count == billed.output == 9
    assert usage.thoughts_token_count == billed.reasoning == 32
    assert usage.total_token_count == billed.input_total + billed.output_total


def test_streams_with_usage_in_every_event(providers: SimulatedProviders, client: genai.Client) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    events = list(
        client.models.generate_content_stream(model=MODEL, contents="Hi [[sim: words=20]]", config=config)
    )
    counts = [event.usage_metadata.candidates_token_count for event in events if event.usage_metadata]
    assert counts == [None, 8, 16, 20]
    assert events[-1].candidates is not None
    assert events[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert providers.bill()[0].output == 20


def test_the_cap_includes_the_thoughts(client: genai.Client) -> None:
    config = types.GenerateContentConfig(max_output_tokens=20)
    answer = client.models.generate_content(model=MODEL, contents="Hi", config=config)
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.candidates_token_count is None
    assert answer.usage_metadata.thoughts_token_count == 20


def test_calls_functions_and_takes_their_responses(client: genai.Client) -> None:
    config = types.GenerateContentConfig(tools=list(TOOLS))
    first = client.models.generate_content(model=MODEL, contents="Two [[sim: tools=2]]", config=config)
    assert [call.args for call in first.function_calls or []] == [{"city": "a short answer"}] * 2
    assert first.candidates is not None
    assert first.candidates[0].finish_reason == types.FinishReason.STOP
    part = types.Part.from_function_response(name="get_weather", response={"output": "sunny"})
    contents: Any = [
        types.Content(role="user", parts=[types.Part(text="Two [[sim: tools=2]]")]),
        first.candidates[0].content,
        types.Content(role="user", parts=[part, part]),
    ]
    assert client.models.generate_content(model=MODEL, contents=contents, config=config).text


def test_structured_output_is_json(client: genai.Client) -> None:
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_schema={"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}},
    )
    answer = client.models.generate_content(model=MODEL, contents="n?", config=config)
    assert json.loads(answer.text or "") == {"n": 7}


def test_several_candidates_are_billed_all(providers: SimulatedProviders, client: genai.Client) -> None:
    config = types.GenerateContentConfig(candidate_count=2)
    answer = client.models.generate_content(model=MODEL, contents="[[sim: words=5]]", config=config)
    assert len(answer.candidates or []) == 2
    assert (providers.bill()[0].output, providers.bill()[0].reasoning) == (10, 64)


def test_counts_tokens_for_free(providers: SimulatedProviders, client: genai.Client) -> None:
    assert client.models.count_tokens(model=MODEL, contents="Count from 1 to 3").total_tokens == 7
    assert providers.bill()[0].input_total == 0


def test_server_sent_events_are_framed_with_crlf_and_end_with_the_body(
    providers: SimulatedProviders,
) -> None:
    body = post(providers, "streamGenerateContent", said("[[sim: words=16]]"), "?alt=sse").body
    assert body.count(b"data: ") == body.count(b"\r\n\r\n") == 2
    assert b"[DONE]" not in body


def test_without_sse_the_stream_is_one_array(providers: SimulatedProviders) -> None:
    heard = post(providers, "streamGenerateContent", said("[[sim: words=16]]"))
    assert b"content-type: application/json" in heard.head
    assert heard.body.startswith(b"[{\n")
    assert b"}\n,\n{" in heard.body
    assert len(json.loads(heard.body)) == 2


def test_snake_case_is_read_as_well(providers: SimulatedProviders) -> None:
    body = said("Hi") | {
        "generation_config": {"max_output_tokens": 7, "thinking_config": {"thinking_budget": 0}}
    }
    assert post(providers, "generateContent", body).status == 200
    assert (providers.bill()[0].cap, providers.bill()[0].output) == (7, 7)


def test_an_error_amid_events_is_bare_json(providers: SimulatedProviders) -> None:
    told = said("[[sim: fault=error_midstream after=1 words=40]]")
    body = post(providers, "streamGenerateContent", told, "?alt=sse").body
    event, _, error = body.partition(b"\r\n\r\n")
    assert event.startswith(b"data: ")
    assert json.loads(error)["error"]["status"] == "UNAVAILABLE"
    array = post(providers, "streamGenerateContent", told).body
    assert "error" in json.loads(array)[1]


def test_two_stops_and_a_shrinking_usage(providers: SimulatedProviders) -> None:
    def stream(fault: str) -> list[Any]:
        told = said(f"[[sim: fault={fault} words=40]]")
        events: list[Any] = json.loads(post(providers, "streamGenerateContent", told).body)
        return events

    stops = [event for event in stream("two_stops") if event["candidates"][0].get("finishReason") == "STOP"]
    *_, before, last = stream("shrinking_usage")
    assert len(stops) == 2
    assert before["usageMetadata"]["candidatesTokenCount"] == 32
    assert "candidatesTokenCount" not in last["usageMetadata"]
    assert last["usageMetadata"]["promptTokenCount"] < before["usageMetadata"]["promptTokenCount"]


def test_a_blocked_prompt_has_no_candidates_and_no_price(
    providers: SimulatedProviders, client: genai.Client
) -> None:
    answer = client.models.generate_content(model=MODEL, contents="[[sim: fault=prompt_blocked]]")
    assert answer.candidates is None
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason == types.BlockedReason.SAFETY
    assert providers.bill()[0].input_total == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "contents is not specified"),
        ({"contents": [{"role": "king", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user", "parts": []}]}, "contents.parts must not be empty"),
        ({"contents": said("a")["contents"] * 2}, "alternate between user and model"),
        (said("a") | {"nonsense": 1}, 'Unknown name "nonsense"'),
        (said("a") | {"generationConfig": {"temperature": 3}}, "must be in the range"),
        (said("a") | {"generationConfig": {"maxOutputTokens": 0}}, "must be positive"),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
            "number of function response parts is equal",
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "x"}}]}]},
            "function_response.response",
        ),
        ({"contents": [{"parts": [{"functionResponse": {"response": {}}}]}]}, "Name cannot be empty"),
        ({"contents": [{"parts": [{"inlineData": {"data": "AA"}}]}]}, "mime_type: must not be empty"),
        (b"{", "Unable to parse the body"),
    ],
)
def test_refuses_what_the_real_one_refuses(providers: SimulatedProviders, body: Any, message: str) -> None:
    heard = post(providers, "generateContent", body)
    error = json.loads(heard.body)["error"]
    assert (heard.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert message in error["message"]


def test_refuses_a_stream_in_the_streams_own_kind(providers: SimulatedProviders) -> None:
    events = post(providers, "streamGenerateContent", {}, "?alt=sse")
    array = post(providers, "streamGenerateContent", {})
    assert b"content-type: text/event-stream" in events.head
    assert json.loads(events.body)["error"]["code"] == 400
    assert json.loads(array.body)[0]["error"]["code"] == 400


@pytest.mark.parametrize(
    ("status", "expected", "name"),
    [
        (401, errors.ClientError, "INVALID_ARGUMENT"),
        (403, errors.ClientError, "PERMISSION_DENIED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_answers_with_the_status_it_is_told(
    client: genai.Client, status: int, expected: type[errors.APIError], name: str
) -> None:
    with pytest.raises(expected) as caught:
        client.models.generate_content(model=MODEL, contents=f"[[sim: status={status} retry_after=3.5]]")
    assert caught.value.status == name
    if status == 429:
        details: Any = caught.value.details
        assert details["error"]["details"][-1]["retryDelay"] == "3.5s"


def test_no_key_is_403_and_a_wrong_one_400(providers: SimulatedProviders, client: genai.Client) -> None:
    path = f"/gemini/v1beta/models/{MODEL}:generateContent"
    with connect(providers) as sock:
        sock.sendall(request_bytes(path, said("x"), {"authorization": ""}))
        assert hear(sock).status == 403
    providers.accept_keys("gemini", ["another"])
    with pytest.raises(errors.ClientError, match="API key not valid") as caught:
        client.models.generate_content(model=MODEL, contents="Hi")
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("model", "reported"), [("gemini-embedding-001", False), ("gemini-embedding-2", True)]
)
def test_embeds_with_or_without_saying_what_it_cost(
    providers: SimulatedProviders, model: str, reported: bool
) -> None:
    content = {"parts": [{"text": "hello"}]}
    one = {"model": f"models/{model}", "content": content, "outputDimensionality": 4}
    with connect(providers) as sock:
        path = f"/gemini/v1beta/models/{model}:batchEmbedContents"
        sock.sendall(request_bytes(path, {"requests": [one, one]}, {"x-goog-api-key": "k"}))
        answer = json.loads(hear(sock).body)
    assert [len(embedding["values"]) for embedding in answer["embeddings"]] == [4, 4]
    assert ("usageMetadata" in answer) is reported
    assert providers.bill()[0].input_total == 2
