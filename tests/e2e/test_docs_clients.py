"""The clients in the documentation, as they stand there, against a gateway behind a line that breaks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.browser.devtools import Browser, browser
from tests.e2e.teams import Team
from tests.running import eventually
from tests.tidy.source import ROOT


@pytest.fixture(scope="module")
def client() -> ModuleType:
    """docs/clients/chat.py, imported."""
    spec = importlib.util.spec_from_file_location("chat", ROOT / "docs/clients/chat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LIMIT_S = 90
HELLO = [{"role": "user", "content": "hello"}]


class BreakingLine:
    """Passes bytes between a client and the gateway, and breaks each connection after so many of them."""

    def __init__(self, port: int, breaks_after: int) -> None:
        self._port = port
        self._breaks_after = breaks_after
        self.connections = 0

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @contextmanager
    def in_a_thread(self) -> Iterator[str]:
        """Its address, while it runs on a loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            server = asyncio.run_coroutine_threadsafe(self.start(), loop).result(LIMIT_S)
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(server.close)
            asyncio.run_coroutine_threadsafe(_stop(), loop).result(LIMIT_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(self._pass(reader, there_writer, 1_000_000))
        await self._pass(there_reader, writer, self._breaks_after)
        up.cancel()
        for each in (writer, there_writer):
            each.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int) -> None:
        passed = 0
        while passed < most and (data := await source.read(512)):
            sink.write(data)
            passed += len(data)


async def _stop() -> None:
    """End all that runs on this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


async def test_the_python_client_loses_nothing_on_a_line_that_breaks(
    client: ModuleType, team: Team, providers: SimulatedProviders
) -> None:
    say = " ".join(f"word{number}" for number in range(120))
    providers.defaults(pace_ms=2, say=say)
    request: dict[str, Any] = {
        "model": "gpt-4.1",
        "messages": HELLO,
        "max_tokens": 1_000,
    }
    line = BreakingLine(team.gateway.port, breaks_after=6_000)
    server = await line.start()
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        text = "".join([part async for part in client.chat(url, team.key, request)])
    assert text == say
    assert line.connections > 3
    assert len(await asyncio.to_thread(team.booked, 1)) == 1
    assert len(providers.bill()) == 1


async def test_the_python_client_says_what_was_refused(client: ModuleType, team: Team) -> None:
    url = f"ws://127.0.0.1:{team.gateway.port}"
    with pytest.raises(client.ChatFailed) as failed:
        async for _ in client.chat(url, team.key, {"model": "no-such-model", "messages": HELLO}):
            pass
    assert "no-such-model" in json.dumps(failed.value.args[0])


@pytest.mark.slow
def test_the_browsers_client_loses_nothing_on_a_line_that_breaks(
    team: Team, providers: SimulatedProviders
) -> None:
    say = " ".join(f"word{number}" for number in range(120))
    providers.defaults(pace_ms=2, say=say)
    line = BreakingLine(team.gateway.port, breaks_after=6_000)
    with line.in_a_thread() as url, browser() as page:
        page.go((ROOT / "docs/clients/chat.html").as_uri())
        for field, value in (("url", url), ("key", team.key), ("model", "gpt-4.1"), ("prompt", "hello")):
            page.fill(f"[name={field}]", value)
        page.click("button")
        shown = eventually(lambda: shown_by(page), "the answer is whole", LIMIT_S)
        text, _, told = shown.partition("\n\n")
        assert text == say
        (row,) = team.booked(1)
        assert told.startswith(f"{row['usage']['output']} tokens, $0.")
        page.fill("[name=model]", "no-such-model")
        page.click("button")
        eventually(lambda: "no-such-model" in (shown_by(page) or ""), "it says what was refused", LIMIT_S)
    assert line.connections > 3
    assert len(providers.bill()) == 1


def shown_by(page: Browser) -> str | None:
    """The answer with what follows it; None while that is still to come."""
    text = str(page.run("document.querySelector('pre').textContent"))
    return text if "\n\n" in text else None
