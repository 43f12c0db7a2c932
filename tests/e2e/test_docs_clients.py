"""The clients in the documentation, as they stand there, against a gateway behind a line that breaks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from types import ModuleType
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team
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


HELLO = [{"role": "user", "content": "hello"}]


class BreakingLine:
    """Passes bytes between a client and the gateway, and breaks each connection after so many of them."""

    def __init__(self, port: int, breaks_after: int) -> None:
        self._port = port
        self._breaks_after = breaks_after
        self.connections = 0

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

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
