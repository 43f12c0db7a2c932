"""A chat client that loses nothing when its connection breaks. Copy it; it needs only `websockets`.

async for text in chat("ws://127.0.0.1:8080", key, {"model": "gpt-4.1", "messages": [...]}):
    print(text, end="", flush=True)
"""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

TRIES = 5
PING_EVERY_S = 25


class ChatFailed(Exception):
    """The gateway or the provider said no; the error object is the argument."""


async def chat(url: str, key: str, request: dict[str, Any]) -> AsyncIterator[str]:
    """The answer's text as it comes. Raises ChatFailed, or what the last try failed with."""
    call, seq, tries = "", 0, 0
    # Should the connection go before the call has a name, asking again asks for the same call.
    request = {"idempotency_key": str(uuid.uuid4()), **request}
    while True:
        try:
            async with connect(
                f"{url}/v1/chat/completions/stream",
                additional_headers={"authorization": f"Bearer {key}"},
                max_size=None,
            ) as socket:
                # Begun already: go on where it stopped. A new request would be a second call, billed again.
                ask = {"type": "resume", "call": call, "after": seq} if call else request
                await socket.send(json.dumps(ask))
                pinging = asyncio.create_task(ping(socket))
                try:
                    async for frame in map_json(socket):
                        if "error" in frame:
                            raise ChatFailed(frame["error"])
                        call = frame.get("call", call)
                        if "choices" not in frame:
                            continue
                        seq, tries = frame["seq"], 0
                        choice = frame["choices"][0]
                        if choice["delta"].get("content"):
                            yield choice["delta"]["content"]
                        if choice["finish_reason"]:
                            return
                finally:
                    pinging.cancel()
        except (OSError, ConnectionClosed, InvalidStatus):
            tries += 1
            if tries >= TRIES:
                raise
        await asyncio.sleep(random.uniform(0, 0.2 * 2**tries))


async def ping(socket: Any) -> None:
    """Keep whatever stands between from closing an idle connection."""
    while True:
        await asyncio.sleep(PING_EVERY_S)
        await socket.send('{"type":"ping"}')


async def map_json(socket: Any) -> AsyncIterator[dict[str, Any]]:
    """The frames of a socket, read."""
    async for text in socket:
        yield json.loads(text)
