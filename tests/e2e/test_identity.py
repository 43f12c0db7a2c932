"""The bytes are the provider's: what a client gets and what a provider gets, byte by byte."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
from tests.e2e.upstream import HANG_UP, ScriptedUpstream, Step, answer, sse, stream
from tests.e2e.wire import request, say
from tests.simulators import raw
from tests.simulators.raw import Heard

pytestmark = pytest.mark.slow

MODEL = "scripted/gpt-4.1"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
HEAD = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4.1-2025-04-14","choices":'
)
USAGE = '{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}'


def delta(text: str, more: str = "") -> str:
    return f'{HEAD}[{{"index":0,"delta":{{"content":{json.dumps(text)}}},"finish_reason":null}}]{more}}}'


FINISH = f'{HEAD}[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]}}'
USAGE_CHUNK = f'{HEAD}[],"usage":{USAGE}}}'
DONE = "[DONE]"


def play(
    team: Team, upstream: ScriptedUpstream, parts: Iterable[Step], *, usage: bool = True, **options: Any
) -> Heard:
    """The answer to a streamed call whose upstream sends these parts."""
    upstream.play([*stream(parts, **options), HANG_UP])
    body = {**ASK, "stream": True, "stream_options": {"include_usage": usage}}
    return say(team.gateway, request(team.key, body))


def bytewise(data: bytes) -> Iterator[bytes]:
    """One byte at a time."""
    return (data[at : at + 1] for at in range(len(data)))


def cut(data: bytes, *places: int) -> list[bytes]:
    """The data in pieces that end at these places."""
    return [data[start:end] for start, end in pairwise((0, *sorted(places), len(data))) if start < end]


PLAIN = sse(delta("Hel"), delta("lo"), FINISH, USAGE_CHUNK, DONE)
STREAMS: dict[str, bytes] = {
    "LF": PLAIN,
    "CRLF": sse(delta("Hel"), delta("lo"), FINISH, USAGE_CHUNK, DONE, end="\r\n"),
    "CR": sse(delta("Hel"), delta("lo"), FINISH, USAGE_CHUNK, DONE, end="\r"),
    "without blanks after data:": PLAIN.replace(b"data: ", b"data:"),
    "comments": b": keep-alive\n\n" + PLAIN.replace(b"\n\ndata: ", b"\n\n: OPENROUTER PROCESSING\n\ndata: "),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "named events with ids": PLAIN.replace(b"data: {", b"event: chunk\nid: 7\nretry: 10\ndata: {"),
    "data on several lines": PLAIN.replace(b',"object"', b',\ndata: "object"'),
    "blank lines between": PLAIN.replace(b"\n\n", b"\n\n\n\n"),
    "usage: null in each chunk": sse(delta("Hi", ',"usage":null'), FINISH, USAGE_CHUNK, DONE),
    "obfuscation and unknown members": sse(
        delta("Hi", ',"obfuscation":"xK3","new":{"deep":[1,2e3,"\\u00e9"]}'), FINISH, USAGE_CHUNK, DONE
    ),
    "blanks inside and after the JSON": PLAIN.replace(b'"choices":', b'"choices" :  ').replace(
        b"}\n\n", b"}   \n\n"
    ),
    "text that looks like the end": sse(
        delta("data: [DONE]\n\n"), delta('"usage":{"total_tokens":9}'), FINISH, USAGE_CHUNK, DONE
    ),
    "bytes that are not UTF-8": PLAIN.replace(b"Hel", b"H\xe2\x28\xff"),
    "text in many scripts": sse(delta("héllo 日本語 🎉 עברית"), FINISH, USAGE_CHUNK, DONE),
    "nothing after the usage": sse(delta("Hi"), FINISH, USAGE_CHUNK),
    "no blank line at the end": PLAIN.removesuffix(b"\n\n"),
    "one line end at the end": PLAIN.removesuffix(b"\n"),
    "the terminator twice": PLAIN + b"data: [DONE]\n\n",
    "more after the terminator": PLAIN + sse("more", delta("late")) + b"and no line end",
    "usage and finish in one chunk": sse(delta("Hi"), FINISH[:-1] + f',"usage":{USAGE}}}', DONE),
    # Its bulk is no answer: three million characters of that would rightly be cut at the cap.
    "an event of 3 MB": sse(
        f'{delta("Hi")[:-1]},"obfuscation":"{"x" * 3_000_000}"}}', FINISH, USAGE_CHUNK, DONE
    ),
    "Azure's first chunk": sse(
        '{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}',
        delta("Hi"),
        FINISH,
        USAGE_CHUNK,
        DONE,
    ),
    "an error in the midst": sse(
        delta("Hi"), '{"error":{"message":"overloaded","type":"server_error"}}', DONE
    ),
    "a bare error": b'{\n  "error": {\n    "message": "no"\n  }\n}\n',
    "nothing at all": b"",
}


@pytest.mark.parametrize("chunking", ["whole", "in two", "bytewise"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_arrives_as_it_was_sent(
    team: Team, upstream: ScriptedUpstream, name: str, chunking: str
) -> None:
    sent = STREAMS[name]
    if chunking == "bytewise" and len(sent) > 10_000:
        parts: Iterable[bytes] = cut(sent, *range(0, len(sent), 60_000))
    elif chunking == "bytewise":
        parts = bytewise(sent)
    else:
        parts = [sent] if chunking == "whole" else cut(sent, len(sent) // 2)
    heard = play(team, upstream, parts)
    assert heard.status == 200
    assert heard.body == sent
    assert heard.finished
    (row,) = team.booked(1)
    if b"prompt_tokens" in sent:
        assert (row["usage"], row["usage_source"]) == ({"input": 9, "output": 3}, "provider")


@pytest.mark.parametrize(
    "name",
    ["LF", "CRLF", "CR", "no blank line at the end", "comments", "Azure's first chunk", "an event of 3 MB"],
)
@pytest.mark.parametrize("chunking", ["whole", "bytewise"])
def test_only_the_usage_chunk_that_nobody_asked_for_is_withheld(
    team: Team, upstream: ScriptedUpstream, name: str, chunking: str
) -> None:
    sent = STREAMS[name]
    end = b"\r\n\r\n" if name == "CRLF" else b"\r\r" if name == "CR" else b"\n\n"
    withheld = b"data: " + USAGE_CHUNK.encode() + end
    assert sent.count(withheld) == 1
    parts = bytewise(sent) if chunking == "bytewise" and len(sent) < 10_000 else [sent]
    assert play(team, upstream, parts, usage=False).body == sent.replace(withheld, b"")
    assert team.booked(1)[0]["usage"] == {"input": 9, "output": 3}


def test_usage_beside_a_last_delta_is_not_withheld(team: Team, upstream: ScriptedUpstream) -> None:
    sent = STREAMS["usage and finish in one chunk"]
    assert play(team, upstream, [sent], usage=False).body == sent


REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4.1-2025-04-14","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"Hello \\u00e9 \\ud83c\\udf89"},'
    b'"finish_reason":"stop"}],"usage":' + USAGE.encode() + b"}"
)
REPLIES: dict[str, bytes] = {
    "compact": REPLY,
    "blank lines before": b"\n\n\n  " + REPLY,
    "indented, with a line end": json.dumps(json.loads(REPLY), indent=4).encode() + b"\n",
    "unknown members": REPLY.replace(b'"created":1', b'"created":1,"new":[{"a":null}],"x":1e400'),
    "members twice": REPLY.replace(b'"created":1', b'"created":1,"created":2'),
    "not UTF-8": REPLY.replace(b"Hello", b"H\xe2\x28\xff"),
    "5 MB": REPLY.replace(b"Hello", b"y" * 5_000_000),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_whole_answer_arrives_as_it_was_sent(team: Team, upstream: ScriptedUpstream, name: str) -> None:
    sent = REPLIES[name]
    upstream.play(answer(sent))
    heard = say(team.gateway, request(team.key, ASK))
    assert heard.body == sent
    assert (b"x-tollgate-cost-usd: 0.000042" in heard.head) == (len(sent) < 1 << 20)
    (row,) = team.booked(1)
    assert (row["usage"], row["usage_source"]) == ({"input": 9, "output": 3}, "provider")


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (400, "application/json", b'{"error": {"message":"no","type":"invalid_request_error"} }\n'),
        (404, "text/plain", b"what model?"),
        (413, "text/html", b"<html>too large</html>"),
        (422, "application/octet-stream", b'{"error":{}}'),
        (409, "application/json", b""),
    ],
)
def test_an_error_that_is_the_clients_arrives_as_it_was_sent(
    team: Team, upstream: ScriptedUpstream, status: int, content_type: str, body: bytes
) -> None:
    upstream.play(answer(body, status, content_type))
    heard = say(team.gateway, request(team.key, {**ASK, "stream": True}))
    assert (heard.status, heard.body) == (status, body)
    assert f"content-type: {content_type}".encode() in heard.head


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            429,
            b'{"error":{"message":"slow down"}}',
            b'{"error":{"tollgate":{"code":"upstream_rate_limited"},"message":"slow down"}}',
        ),
        (
            500,
            b'{"error": {\n "message":"ouch"}}',
            b'{"error": {"tollgate":{"code":"upstream_unavailable"},\n "message":"ouch"}}',
        ),
        (503, b'{"error":{}}', b'{"error":{}}'),
        (529, b'{"error":"overloaded"}', b'{"error":"overloaded"}'),
        (502, b"<html>Bad gateway</html>", b"<html>Bad gateway</html>"),
    ],
)
def test_the_providers_own_error_is_marked_and_nothing_else(
    team: Team, upstream: ScriptedUpstream, status: int, body: bytes, told: bytes
) -> None:
    upstream.play(answer(body, status))
    heard = say(team.gateway, request(team.key, ASK))
    assert (heard.status, heard.body) == (status, told)


def test_headers_travel_by_allow_list(team: Team, upstream: ScriptedUpstream) -> None:
    upstream.play(
        answer(
            REPLY,
            200,
            "application/json",
            "X-Request-ID: req_1",
            "openai-organization: org-secret",
            "x-ratelimit-remaining-tokens: 5",
            "set-cookie: a=b",
            "openai-processing-ms: 12",
            "retry-after: 3",
        )
    )
    headers = {
        "openai-organization": "org-mine",
        "cookie": "c=d",
        "user-agent": "my-software/1",
        "x-stainless-lang": "python",
        "openai-beta": "assistants=v2",
        "x-forwarded-for": "10.0.0.1",
        "accept-encoding": "gzip",
    }
    heard = say(team.gateway, request(team.key, ASK, headers=headers))
    down = heard.head.lower()
    assert b"x-request-id: req_1" in down
    assert b"openai-processing-ms: 12" in down
    for name in (b"organization", b"ratelimit", b"cookie", b"retry-after", b"server:", b"date:"):
        assert name not in down
    (asked,) = upstream.requests()
    up = asked.partition(b"\r\n\r\n")[0].lower()
    assert b"openai-beta: assistants=v2" in up
    assert b"accept-encoding: identity" in up
    assert b"authorization: bearer sk-simulated-0000" in up
    for name in (
        b"org-mine",
        b"cookie",
        b"my-software",
        b"stainless",
        b"10.0.0.1",
        team.key.lower().encode(),
    ):
        assert name not in up


HI = b'"messages":[{"role":"user","content":"hi"}]'
BODIES: dict[str, bytes] = {
    "pretty": json.dumps(ASK, indent=3).encode(),
    "odd spacing": b'  {"model" :"scripted/gpt-4.1" ,\r\n\t"max_tokens":50,'
    + HI.replace(b":", b" : ")
    + b"} \n",
    "escapes and numbers": b'{"model":"scripted/gpt-4.1","max_tokens":50,"temperature":1.0e0,'
    b'"seed":12345678901234567890,'
    b'"messages":[{"role":"user","content":"\\u0068\\ud83c\\udf89\\/ \\"max_tokens\\": 7"}]}',
    "unknown members, some twice": b'{"new":{"a":[1,{"b":null}]},"new":2,"model":"scripted/gpt-4.1",'
    b'"max_tokens":50,"messages":[{"role":"user","content":"hi","x":1,"x":2}]}',
    "a model spelt in escapes": b'{"model":"scripted\\/gpt-4.1","max_tokens":50,' + HI + b"}",
}


@pytest.mark.parametrize("name", BODIES)
def test_the_provider_gets_the_clients_bytes_but_for_the_model(
    team: Team, upstream: ScriptedUpstream, name: str
) -> None:
    sent = BODIES[name]
    upstream.play(answer(REPLY))
    assert say(team.gateway, request(team.key, sent)).status == 200
    model = re.compile(rb'"scripted\\?/gpt-4.1"')
    assert upstream.body() == model.sub(b'"gpt-4.1"', sent)


def test_a_call_that_asks_for_everything_itself_is_not_changed_at_all(
    team: Team, providers: SimulatedProviders
) -> None:
    sent = (
        b'{"model" : "gpt-4.1","stream":true, "stream_options":{"include_usage" : true},\n'
        b'"max_completion_tokens":9,' + HI + b"}"
    )
    assert say(team.gateway, request(team.key, sent)).status == 200
    assert providers.requests()[0].body == sent


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        # Nothing is named: the model's largest output, and the usage, are asked for in front.
        (
            b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}',
            b'{"max_completion_tokens":16384,"stream_options":{"include_usage":true},'
            b'"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}',
        ),
        # Reasoning models do not take the older name.
        (
            b'{"model":"gpt-5", "max_tokens" : 9,"messages":[{"role":"user","content":"hi"}]}',
            b'{"model":"gpt-5", "max_completion_tokens" : 9,"messages":[{"role":"user","content":"hi"}]}',
        ),
        (
            b'{"model":"gpt-4o","max_tokens":null,"stream":true,"stream_options":null,'
            b'"messages":[{"role":"user","content":"hi"}]}',
            b'{"max_completion_tokens":16384,"model":"gpt-4o","max_tokens":null,"stream":true,'
            b'"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}',
        ),
    ],
)
def test_what_is_spliced_in(team: Team, providers: SimulatedProviders, sent: bytes, received: bytes) -> None:
    heard = say(team.gateway, request(team.key, sent))
    assert heard.status == 200, heard.body
    assert providers.requests()[0].body == received


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_encoded_answer_is_decoded_and_metered(
    team: Team, upstream: ScriptedUpstream, coding: str, streamed: bool
) -> None:
    plain = STREAMS["LF"] if streamed else REPLY
    encoded = gzip.compress(plain) if coding == "gzip" else zlib.compress(plain)
    kind = "text/event-stream" if streamed else "application/json"
    upstream.play(answer(encoded, 200, kind, f"content-encoding: {coding}"))
    body = {**ASK, "stream": streamed} | ({"stream_options": {"include_usage": True}} if streamed else {})
    heard = say(team.gateway, request(team.key, body))
    assert heard.body == plain
    assert b"content-encoding" not in heard.head
    assert team.booked(1)[0]["usage"] == {"input": 9, "output": 3}


VARYING = re.compile(rb'"(?:id|created)": ?(?:"[^"]*"|\d+)|chatcmpl-sim\w+')
# How a stream may stop short although its HTTP body ends in order; a whole answer cannot.
STREAM_ENDS = [f"fault={end} after=3" for end in ("half_json", "end_midstream", "error_midstream")]
FRAMINGS = [
    "",
    "crlf",
    "comments=2",
    "chunk=1",
    "chunk=7 crlf",
    "gzip",
    "blank=3",
    "fault=no_done",
    "fault=double_done",
    "fault=bad_utf8",
    "fault=wrong_types",
    "fault=big_line size=1000000",
    "usage=none",
    "usage=null",
    "usage=zero",
    "usage=wrong",
    "refusal",
    "reasoning=5",
    "finish=content_filter",
]


@pytest.mark.parametrize("provider", ["openai", "deepseek", "azure"])
@pytest.mark.parametrize(
    ("directive", "streamed"),
    [(each, True) for each in (*FRAMINGS, *STREAM_ENDS)] + [(each, False) for each in FRAMINGS],
)
def test_through_the_gateway_is_as_without_it(
    team: Team, providers: SimulatedProviders, provider: str, directive: str, streamed: bool
) -> None:
    model = {"openai": "openai/gpt-4o", "deepseek": "deepseek/deepseek-chat", "azure": "azure_openai/gpt-4o"}[
        provider
    ]
    cap = "max_tokens" if provider == "deepseek" else "max_completion_tokens"
    body: dict[str, Any] = {
        "model": model.partition("/")[2],
        "messages": [{"role": "user", "content": f"[[sim: words=8 {directive}]]"}],
        cap: 200,
        "stream": streamed,
    }
    if streamed:
        body["stream_options"] = {"include_usage": True}
    headers = {"api-key": "sk-1"} if provider == "azure" else {}
    with raw.connect(providers) as sock:
        sock.sendall(raw.request_bytes(raw.PATHS[provider], body, headers))
        direct = raw.hear(sock)
    through = say(team.gateway, request(team.key, {**body, "model": model}))
    sent = direct.body if "gzip" not in directive else gzip.decompress(direct.body)
    assert (through.status, through.finished or not streamed) == (direct.status, True)
    assert VARYING.sub(b"", through.body) == VARYING.sub(b"", sent)
