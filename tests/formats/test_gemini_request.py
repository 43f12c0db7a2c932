"""A Gemini request becomes an intent that bounds what it may cost; a wrong one is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.formats import allowances
from gateway.formats.base import Intent
from gateway.formats.gemini_batch_embed import FORMAT as BATCH
from gateway.formats.gemini_count_tokens import FORMAT as COUNT
from gateway.formats.gemini_embed import FORMAT as EMBED
from gateway.formats.gemini_generate import FORMAT
from gateway.formats.gemini_stream import FORMAT as STREAM
from tests.formats.playing import CharCounter

PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
HELLO = [{"role": "user", "parts": [{"text": "Hello"}]}]
MEDIA = frozenset(("audio_input", "image_input", "video_input"))
OUTPUTS = frozenset(("audio_output", "image_output", "video_output"))


def body_of(**members: Any) -> bytes:
    return json.dumps({"contents": HELLO, **members}).encode()


def read(path: str = PATH, **members: Any) -> Intent:
    return FORMAT.read(path, body_of(**members))


def with_part(**part: Any) -> Any:
    return [{"role": "user", "parts": [{"text": "Hello"}, part]}]


def inline(kind: str, characters: int = 4_000) -> Any:
    return with_part(inlineData={"mimeType": kind, "data": "A" * characters})


def test_a_plain_request() -> None:
    intent = read()
    assert (intent.model, intent.stream, intent.choices, intent.loops) == ("gemini-2.5-flash", False, 1, 1)
    assert (intent.output_cap, intent.end_user, intent.service_tier) == (None, None, None)
    assert (intent.unseen_input, intent.fees, intent.prices_apart) == (False, {}, OUTPUTS)
    assert intent.allowance == allowances.BASE_TOKENS + allowances.MESSAGE_TOKENS
    assert intent.input_bound == len(body_of()) + intent.allowance
    streamed = STREAM.read(PATH, body_of())
    assert (streamed.stream, streamed.wants_usage) == (True, True)


@pytest.mark.parametrize("config", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("cap", ["maxOutputTokens", "max_output_tokens"])
@pytest.mark.parametrize("value", [64, 64.0, "64"])
def test_the_cap_in_every_spelling(config: str, cap: str, value: Any) -> None:
    members: dict[str, Any] = {config: {cap: value, "temperature": 0}}
    assert read(**members).output_cap == 64


def test_what_else_the_configuration_decides() -> None:
    assert read(generationConfig={"candidateCount": 3}).choices == 3
    assert read(generation_config={"candidate_count": 3}).choices == 3
    assert read(generationConfig={"responseModalities": ["TEXT"]}).prices_apart == frozenset()
    assert read(generationConfig={"responseModalities": ["TEXT", "IMAGE"]}).prices_apart == {"image_output"}
    assert read(generation_config={"response_modalities": "AUDIO"}).prices_apart == {"audio_output"}
    schema = read(generationConfig={"responseSchema": {"type": "OBJECT"}})
    assert schema.allowance == read().allowance + allowances.SCHEMA_TOKENS


@pytest.mark.parametrize(
    ("asked", "tier"),
    [
        ("flex", "flex"),
        ("PRIORITY", "priority"),
        ("SERVICE_TIER_FLEX", "flex"),
        ("unspecified", None),
        ("", None),
    ],
)
def test_the_tier_in_every_spelling(asked: str, tier: str | None) -> None:
    assert read(serviceTier=asked).service_tier == tier
    assert read(service_tier=asked).service_tier == tier


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"contents": None}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": ["Hello"]}, "contents[0]"),
        ({"contents": [{"parts": "Hello"}]}, "contents[0].parts"),
        ({"systemInstruction": "Be brief"}, "systemInstruction"),
        ({"tools": "x"}, "tools"),
        ({"model": "models/gemini-2.5-pro"}, "model"),
        ({"model": 4}, "model"),
        ({"serviceTier": 1}, "serviceTier"),
        ({"generationConfig": 1}, "generationConfig"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": -1}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": 1.5}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": True}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": "many"}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": 2**31}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": 10**400}}, "generationConfig.maxOutputTokens"),
        ({"generationConfig": {"max_output_tokens": []}}, "generationConfig.max_output_tokens"),
        ({"generationConfig": {"candidateCount": 0}}, "generationConfig.candidateCount"),
        ({"generationConfig": {}, "generation_config": {}}, "generationConfig"),
        ({"generationconfig": {}}, "generationconfig"),
        ({"cachedContent": "a", "cached_content": "b"}, "cachedContent"),
        (
            {"generationConfig": {"maxOutputTokens": 9, "max_output_tokens": 9}},
            "generationConfig.maxOutputTokens",
        ),
        ({"generationConfig": {"maxoutputTokens": 9}}, "generationConfig.maxoutputTokens"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_cannot_be_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


def test_one_object_stands_for_an_array_of_one() -> None:
    contents = {"role": "user", "parts": {"fileData": {"mimeType": "audio/mp3", "fileUri": "files/1"}}}
    intent = read(contents=contents, systemInstruction={"parts": {"text": ""}}, tools={"googleSearch": {}})
    assert intent.unseen_input
    assert intent.fees == {"web_search": 1}


@pytest.mark.parametrize(
    "members",
    [
        {"contents": with_part(fileData={"fileUri": "https://youtu.be/x"})},
        {"contents": with_part(file_data={"file_uri": "files/1", "mime_type": "video/mp4"})},
        {"contents": inline("video/mp4")},
        {"contents": inline("application/pdf")},
        {"contents": inline("application/x-unheard-of")},
        {"contents": with_part(hologram={"data": "AAAA"})},
        {"contents": with_part(functionResponse={"name": "f", "parts": [{"fileData": {"fileUri": "x"}}]})},
        {"systemInstruction": {"parts": [{"fileData": {"fileUri": "x"}}]}},
        {"system_instruction": {"parts": [{"fileData": {"fileUri": "x"}}]}},
        {"cachedContent": "cachedContents/1"},
        {"cached_content": "cachedContents/1"},
        {"tools": [{"codeExecution": {}}]},
        {"tools": [{"url_context": {}}]},
        {"tools": [{"fileSearch": {"fileSearchStoreNames": ["x"]}}]},
        {"tools": [{"teleport": {}}]},
    ],
    ids=lambda members: json.dumps(members)[-50:],
)
def test_what_the_gateway_cannot_see_is_said(members: dict[str, Any]) -> None:
    assert read(**members).unseen_input


def test_an_image_costs_its_rule_and_not_its_bytes() -> None:
    intent = read(contents=inline("image/png", 40_000))
    assert not intent.unseen_input
    assert intent.prices_apart == {"image_input"} | OUTPUTS
    assert intent.input_bound < 40_000
    nested = with_part(
        function_response={"name": "f", "parts": {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}}
    )
    assert read(contents=nested).allowance == intent.allowance


def test_audio_is_bounded_by_what_its_container_can_hold() -> None:
    thick = read(contents=inline("audio/mp3", 32_000))
    assert thick.prices_apart == {"audio_input"} | OUTPUTS
    assert thick.allowance == read().allowance + allowances.audio_tokens_max(32_000)
    # Silence takes next to nothing in others.
    assert read(contents=inline("audio/flac", 32_000)).allowance == read().allowance + 32_000
    long = read(contents=inline("audio/flac", 1_000_001))
    assert long.unseen_input
    assert long.input_bound < 1_000


def test_videos_may_be_billed_in_two_meters() -> None:
    assert read(contents=inline("video/mp4")).prices_apart == {"audio_input", "video_input"} | OUTPUTS
    assert read(cachedContent="x").prices_apart == MEDIA | OUTPUTS


def test_functions_are_the_callers_and_read_once() -> None:
    declared = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    intent = read(tools=declared)
    assert not intent.unseen_input
    added = allowances.TOOLS_TOKENS + 2 * allowances.TOOL_TOKENS
    assert intent.allowance == read().allowance + added
    assert read(tools=[{"googleSearch": None}]).input_bound < intent.input_bound


def test_tools_that_google_runs_read_the_prompt_again() -> None:
    intent = read(tools=[{"codeExecution": {}}])
    seen = len(body_of(tools=[{"codeExecution": {}}])) + intent.allowance
    assert intent.input_bound == 6 * seen
    assert intent.fees == {}


@pytest.mark.parametrize(
    ("model", "searches"),
    [
        ("gemini-2.5-flash", 1),
        ("gemini-1.5-pro", 1),
        ("gemini-3.5-flash", 20),
        ("gemini-flash-latest", 20),
        ("x", 20),
    ],
)
def test_searches_cost_a_fee(model: str, searches: int) -> None:
    path = f"/v1beta/models/{model}:generateContent"
    for tool in ("googleSearch", "google_search", "googleMaps"):
        assert read(path, tools=[{tool: {}}]).fees == {"web_search": searches}


CAPPED = b'{"generationConfig":{"maxOutputTokens":9},'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{", b'{"generationConfig":{"maxOutputTokens":9},'),
        (b'{"generationConfig":null,', CAPPED),
        (b'{"generationConfig": { },', b'{"generationConfig": {"maxOutputTokens":9 },'),
        (b'{"generation_config":{"topK":1},', b'{"generation_config":{"maxOutputTokens":9,"topK":1},'),
        (b'{"generationConfig":{"maxOutputTokens":10},', CAPPED),
        (b'{"generationConfig":{"maxOutputTokens":"10"},', CAPPED),
        (b'{"generationConfig":{"maxOutputTokens":1e1},', CAPPED),
        (b'{"generationConfig":{"maxOutputTokens":null},', CAPPED),
        (b'{"generation_config":{"max_output_tokens":10},', b'{"generation_config":{"max_output_tokens":9},'),
        (CAPPED, CAPPED),
        (b'{"generationConfig":{"maxOutputTokens":"8"},', b'{"generationConfig":{"maxOutputTokens":"8"},'),
    ],
)
def test_the_cap_is_spliced_into_the_clients_own_bytes(before: bytes, after: bytes) -> None:
    rest = b' "contents":[{"parts":[{"text":"\\u00e9 "}]}] }'
    intent = FORMAT.read(PATH, before + rest)
    assert FORMAT.upstream_body(before + rest, intent, "gemini-2.5-flash", "max_tokens", 9) == after + rest


def test_the_model_is_renamed_wherever_the_body_names_it() -> None:
    named = body_of(model="models/gemini-2.5-flash", generationConfig={"maxOutputTokens": 5})
    body = FORMAT.upstream_body(named, FORMAT.read(PATH, named), "tunedModels/t", "", 5)
    assert body == named.replace(b"models/gemini-2.5-flash", b"tunedModels/t")
    whole = b'{"generateContentRequest":{"model":"models/gemini-2.5-flash","contents":[]}}'
    counted = COUNT.upstream_body(whole, COUNT.read(PATH, whole), "other", "", 0)
    assert counted == whole.replace(b"gemini-2.5-flash", b"other")
    one = b'{"model":"models/gemini-2.5-flash","content":{"parts":[{"text":"a"}]}}'
    several = b'{"requests": [' + one + b" , " + one + b"]}"
    renamed = BATCH.upstream_body(several, BATCH.read(PATH, several), "other", "", 0)
    assert renamed == several.replace(b"gemini-2.5-flash", b"other")
    assert EMBED.upstream_body(one, EMBED.read(PATH, one), "gemini-2.5-flash", "", 0) == one


def test_a_count_is_free() -> None:
    intent = COUNT.read(PATH, body_of())
    assert (intent.output_cap, intent.input_bound, intent.fees) == (0, 0, {})
    report, error = COUNT.read_reply(b'{"totalTokens": 31}', intent)
    assert report is not None
    assert (report.usage, error) == ({}, None)
    assert COUNT.prompt_tokens(body_of(), CharCounter()) == 0
    report, error = COUNT.read_reply(b'{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', intent)
    assert report is None
    assert error is not None


def test_embeddings_are_bounded_and_counted() -> None:
    one = b'{"content":{"parts":[{"text":"Oban"},{"text":"Fort William"}]}}'
    intent = EMBED.read(PATH, one)
    assert (intent.output_cap, intent.unseen_input) == (0, False)
    assert intent.input_bound == len(one) + allowances.MESSAGE_TOKENS
    assert EMBED.prompt_tokens(one, CharCounter()) == 16
    assert BATCH.prompt_tokens(b'{"requests":[' + one + b"," + one + b"]}", CharCounter()) == 32


@pytest.mark.parametrize(
    ("names", "path"),
    [(("a", "b"), "/v1beta/models/a:batchEmbedContents"), (("a", "b"), "/v1beta/models/{model}:x")],
)
def test_a_batch_is_for_one_model(names: tuple[str, ...], path: str) -> None:
    requests = [{"model": f"models/{name}", "content": {"parts": []}} for name in names]
    with pytest.raises(BadRequest) as caught:
        BATCH.read(path, json.dumps({"requests": requests}).encode())
    assert caught.value.param == "model"


def test_the_prompts_text_is_all_that_the_model_reads() -> None:
    body = body_of(
        contents=[
            *HELLO,
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "t", "args": {}}, "thoughtSignature": "U2ln"}],
            },
            {"role": "user", "parts": {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}},
        ],
        system_instruction={"parts": [{"text": "Be brief."}]},
        tools=[{"functionDeclarations": [{"name": "t"}]}],
        generationConfig={"responseSchema": {"type": "OBJECT"}, "topK": 1},
    )
    assert FORMAT.prompt_text(body).split("\n") == [
        "Hello",
        '{"name":"t","args":{}}',
        "Be brief.",
        '[{"functionDeclarations":[{"name":"t"}]}]',
        '{"type":"OBJECT"}',
    ]


@pytest.mark.parametrize(
    ("uri", "stored"),
    [
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", ("files/abc",)),
        ("HTTPS://GenerativeLanguage.GoogleApis.com:443/v1beta/files/abc?x=1", ("files/abc",)),
        ("https://me@generativelanguage.googleapis.com./v1beta/files/abc", ("files/abc",)),
        ("files/abc", ("files/abc",)),
        ("gs://bucket/abc", ("gs://bucket/abc",)),
        ("https://www.youtube.com/watch?v=abc", ()),
        ("https://example.com/files/abc", ()),
        ("", ()),
    ],
)
def test_files_at_google_are_named_and_the_open_web_is_not(uri: str, stored: tuple[str, ...]) -> None:
    for key, name in (("fileData", "fileUri"), ("file_data", "file_uri")):
        contents = [{"parts": [{key: {name: uri}}]}]
        asked = json.dumps({"contents": contents}).encode()
        assert FORMAT.read(PATH, asked).stored == stored
        whole = json.dumps({"generateContentRequest": {"contents": contents}}).encode()
        assert COUNT.read(PATH, asked).stored == COUNT.read(PATH, whole).stored == stored


@pytest.mark.parametrize("key", ["cachedContent", "cached_content"])
def test_a_cache_is_named(key: str) -> None:
    asked = json.dumps({"contents": [{"parts": [{"text": "x"}]}], key: "cachedContents/abc"}).encode()
    assert FORMAT.read(PATH, asked).stored == ("cachedContents/abc",)


def test_stores_that_are_searched_are_named() -> None:
    tools = [{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/abc"]}}, {"file_search": 5}]
    asked = json.dumps({"contents": [{"parts": [{"text": "x"}]}], "tools": tools}).encode()
    assert FORMAT.read(PATH, asked).stored == ("fileSearchStores/abc",)
