"""The server itself: control over HTTP, the bill and the transcript, many streams, starting and stopping."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from gateway.simulators import Played, SimulatedProviders
from tests.simulators.raw import PATHS, Heard, call, connect, hear, request_bytes

CROWD = 300


def control(providers: SimulatedProviders, method: str, path: str, body: Any = None) -> Any:
    """Ask the control interface something."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    with connect(providers) as sock:
        sock.sendall(head.encode() + data)
        return json.loads(hear(sock).body)


def test_defaults_hold_until_the_reset(providers: SimulatedProviders) -> None:
    control(providers, "POST", "/control/defaults", {"words": 3})
    control(providers, "POST", "/control/defaults", {"provider": "deepseek", "words": 4})
    call(providers, "Hi")
    call(providers, "Hi", provider="deepseek")
    call(providers, "Hi [[sim: words=5]]", provider="deepseek")
    assert [billed.output for billed in providers.bill()] == [3, 4, 5]
    control(providers, "POST", "/control/reset")
    assert providers.bill() == []
    call(providers, "Hi")
    assert providers.bill()[0].output >= 30


def test_a_directive_nobody_knows_is_refused_aloud(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: wrods=3]]")
    assert heard.status == 400
    assert b"unknown directive 'wrods'" in heard.body
    assert "unknown directive" in control(providers, "POST", "/control/defaults", {"wrods": 3})["error"]


def test_the_bill_over_http_is_the_bill(providers: SimulatedProviders) -> None:
    call(providers, "Hi [[sim: words=3 cached=64]]", max_tokens=9)
    told = control(providers, "GET", "/control/bill?ended=1&provider=openai")
    [line] = told["calls"]
    [billed] = providers.bill()
    assert (line["id"], line["provider"], line["model"]) == (1, "openai", "gpt-4o")
    assert (line["cap"], line["path"]) == (9, "/openai/v1/chat/completions")
    assert (line["ending"], line["saw_end"]) == ("complete", True)
    assert (told["input_total"], told["output_total"]) == (billed.input_total, 3)
    assert line["reported"]["completion_tokens"] == line["output_total"] == 3


def test_the_transcript_shows_what_arrived_but_no_secret(providers: SimulatedProviders) -> None:
    call(providers, "first")
    call(providers, "second")
    with connect(providers) as sock:
        sock.sendall(request_bytes("/gemini/v1beta/models/x:generateContent?key=AIza-secret-9876", {}))
        hear(sock)
    seen = control(providers, "GET", "/control/requests?last=2")["requests"]
    assert [one["provider"] for one in seen] == ["openai", "gemini"]
    assert json.loads(seen[0]["body"])["messages"][0]["content"] == "second"
    assert dict(seen[0]["headers"])["authorization"] == "***1234"
    assert seen[1]["query"] == "key=%2A%2A%2A9876"
    assert "secret" not in repr(providers.requests())


def test_holds_are_kept_and_released_over_http(providers: SimulatedProviders) -> None:
    with connect(providers) as sock:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim: hold_headers=a]]"}]}
        sock.sendall(request_bytes(PATHS["openai"], body))
        assert control(providers, "GET", "/control/held?name=a")["arrived"] == 1
        control(providers, "POST", "/control/release", {"name": "a"})
        assert hear(sock).status == 200


def test_keys_and_deployments_are_set_over_http(providers: SimulatedProviders) -> None:
    control(providers, "POST", "/control/keys", {"openai": ["sk-other"]})
    control(providers, "POST", "/control/deployments", {"gpt-4o": "gpt-4.1"})
    assert call(providers, "Hi").status == 401
    with connect(providers) as sock:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        sock.sendall(request_bytes(PATHS["azure"], body))
        assert json.loads(hear(sock).body)["model"] == "gpt-4.1-2025-04-14"


def test_a_fault_can_be_one_providers_alone(providers: SimulatedProviders) -> None:
    told = "Hi [[sim: status=503 only=openai words=3]]"
    assert call(providers, told).status == 503
    assert call(providers, told, provider="deepseek").status == 200


def test_a_missing_key_is_refused_as_the_provider_does(providers: SimulatedProviders) -> None:
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS["openai"], {}, {"authorization": ""}))
        heard = hear(sock)
    assert heard.status == 401
    assert b"You didn't provide an API key" in heard.body


@pytest.mark.parametrize("provider", sorted(PATHS))
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"model": 5}', b'{"messages": 1}', b"\xff\xfe"]
)
def test_a_senseless_body_is_refused(providers: SimulatedProviders, provider: str, body: bytes) -> None:
    keys = {"x-api-key": "k", "api-key": "k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS[provider], body, keys))
        heard = hear(sock)
    assert heard.status in (400, 404)
    assert "error" in json.loads(heard.body)


async def test_a_crowd_of_streams_is_served_and_billed(providers: SimulatedProviders) -> None:
    body = {
        "model": "gpt-4o",
        "stream": True,
        "messages": [{"role": "user", "content": "Hi [[sim: words=20 pace_ms=2 hold=all after=10]]"}],
    }

    async def listen() -> bytes:
        reader, writer = await asyncio.open_connection(providers.host, providers.port)
        writer.write(request_bytes(PATHS["openai"], body))
        heard = await reader.read()
        writer.close()
        await writer.wait_closed()
        return heard

    streams = [asyncio.create_task(listen()) for _ in range(CROWD)]
    await providers.until_held("all", CROWD)
    providers.release("all")
    heard = await asyncio.gather(*streams)
    assert all(Heard(one, False, 1).body.endswith(b"data: [DONE]\n\n") for one in heard)
    assert [billed.output_total for billed in await providers.until_ended(CROWD)] == [20] * CROWD


def test_counters_go_by_the_names_of_the_benchmark(providers: SimulatedProviders) -> None:
    call(providers, "[[sim: words=4]]", stream=True)
    stats = control(providers, "GET", "/stats")
    assert (stats["requests"], stats["streams"], stats["chunks"], stats["aborted"]) == (1, 1, 4, 0)
    assert stats["connections"] == 2


def test_a_prepared_answer_is_given_once_whatever_was_asked(providers: SimulatedProviders) -> None:
    events = 'data: {"odd": 1}\n\n'
    providers.play("openai", Played(b"teapot", 418, "text/plain", {"X-Tea": "green"}))
    told = {"provider": "openai", "body": events, "content_type": "text/event-stream", "chunk": 4}
    assert control(providers, "POST", "/control/play", told)["waiting"] == 2
    first, second, third = (call(providers, "Hi") for _ in range(3))
    assert (first.status, first.body, first.finished) == (418, b"teapot", False)
    assert b"x-tea: green" in first.head
    assert (second.body.decode(), second.finished) == (events, True)
    assert {len(chunk) for chunk in second.chunks} <= {0, 1, 2, 3, 4}
    assert json.loads(third.body)["object"] == "chat.completion"
    assert [billed.output_total > 0 for billed in providers.bill()] == [False, False, True]


def test_idle_connections_can_be_closed(providers: SimulatedProviders) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim: words=2]]"}]}
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS["openai"], body, {"connection": "keep-alive"}))
        heard = b""
        while b'"system_fingerprint"' not in heard or not heard.endswith(b"}"):
            heard += sock.recv(65_536)
        providers.close_idle()
        assert sock.recv(1) == b""


def test_an_answer_can_close_its_connection(providers: SimulatedProviders) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim: words=2 close=1]]"}]}
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS["openai"], body, {"connection": "keep-alive"}))
        assert b"connection: close" in hear(sock).head


async def test_stopping_breaks_what_still_runs() -> None:
    providers = SimulatedProviders()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim: hold_headers=for_ever]]"}]}
    with connect(providers) as sock:
        sock.sendall(request_bytes(PATHS["openai"], body))
        await providers.until_held("for_ever")
        providers.stop()
        assert hear(sock).raw == b""
    with pytest.raises(ConnectionRefusedError):
        connect(providers)
    providers.stop()


def test_runs_as_a_process_that_says_where_it_is() -> None:
    command = [sys.executable, "-m", "gateway.simulators", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().decode().strip()
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as sock:
            sock.sendall(request_bytes(PATHS["openai"], {"model": "gpt-4o", "messages": []}))
            assert hear(sock).status == 400
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == b""
