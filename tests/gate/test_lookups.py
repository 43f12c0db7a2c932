"""Asking an upstream about a stored answer: what is sent, and what comes back in pieces or not at all."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.domain.errors import UpstreamFailed
from gateway.gate.lookups import Lookup, ask, request_for
from gateway.providers import azure_openai
from gateway.relay.calls import UpstreamFailure
from gateway.relay.client import Client
from tests.gate.making import upstream

UPSTREAM = upstream()


def test_what_is_sent() -> None:
    sent = request_for(
        UPSTREAM,
        "GET",
        "resp_1",
        "/input_items",
        [("after", "a b")],
        [(b"authorization", b"Bearer sk-tg-ours"), (b"cookie", b"x"), (b"openai-beta", b"v")],
    )
    head = sent.decode().split("\r\n")
    assert head[0] == "GET /v1/responses/resp_1/input_items?after=a+b HTTP/1.1"
    assert "authorization: Bearer sk-upstream" in head
    assert "openai-beta: v" in head
    assert not any("sk-tg" in line or "cookie" in line for line in head)


def test_an_id_cannot_change_the_address() -> None:
    sent = request_for(UPSTREAM, "GET", "../files/x?y#z")
    assert sent.startswith(b"GET /v1/responses/..%2Ffiles%2Fx%3Fy%23z HTTP/1.1")


def test_azure_keeps_its_version() -> None:
    azure = upstream("azure_openai", azure_openai.PROVIDER, base_path="/openai", api_version="preview")
    sent = request_for(azure, "GET", "resp_1", query=[("stream", "true")])
    assert sent.startswith(b"GET /openai/responses/resp_1?api-version=preview&stream=true HTTP/1.1")


class PlayedClient:
    """Answers as it is told to, at once."""

    def __init__(self, *parts: bytes, failure: UpstreamFailure | None = None, head: bool = True) -> None:
        self._parts, self._failure, self._head = parts, failure, head
        self.said: list[str] = []

    def send(self, target: Any, request: Any, listener: Any, timeouts: Any) -> Any:
        if self._head:
            listener.on_response(200, [(b"content-type", b"application/json")])
        self._listener = listener
        return self

    def play(self) -> None:
        for part in self._parts:
            self._listener.on_data(part)
        if self._failure is None:
            self._listener.on_end()
        else:
            self._listener.on_failed(self._failure)

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def cancel(self) -> None:
        self.said.append("cancel")


GONE = UpstreamFailure("closed", "yes", "as played")


async def looked_up(client: PlayedClient) -> bytes:
    lookup = Lookup(cast(Client, client), UPSTREAM, b"")
    client.play()
    await lookup.head()
    return b"".join([part async for part in lookup.parts()])


async def test_a_whole_answer() -> None:
    assert await looked_up(PlayedClient(b"one", b"two")) == b"onetwo"


@pytest.mark.parametrize("head", [True, False])
async def test_one_that_breaks_off(head: bool) -> None:
    with pytest.raises(UpstreamFailed):
        await looked_up(PlayedClient(b"one" if head else b"", failure=GONE, head=head))


async def test_an_upstream_that_is_faster_than_its_reader_waits() -> None:
    client = PlayedClient(*[b"x"] * 40)
    assert await looked_up(client) == b"x" * 40
    assert client.said.count("pause") >= 1
    assert client.said[-1] == "resume"


async def test_more_than_may_be_kept() -> None:
    client = PlayedClient(b"x" * 11)
    lookup = ask(cast(Client, _playing(client)), UPSTREAM, b"", 10)
    with pytest.raises(UpstreamFailed, match="more than 10 bytes"):
        await lookup
    assert client.said[-1] == "cancel"


def _playing(client: PlayedClient) -> Any:
    """The same, which plays as soon as it is asked."""

    class Eager:
        def send(self, *args: Any) -> Any:
            handle = client.send(*args)
            client.play()
            return handle

    return Eager()
