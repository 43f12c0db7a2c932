"""A worker's own door: the same surface on a socket file, for the other workers of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.api.wire import GatewayProtocol
from gateway.gate.neighbours import Neighbours

__all__ = ["back_door"]


@asynccontextmanager
async def back_door(neighbours: Neighbours, address: str, app: Any, plane: Any) -> AsyncIterator[None]:
    """Listen for as long as the block runs; `address` is told to those of other machines."""
    config = Config(
        app,
        http=GatewayProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        date_header=False,
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: GatewayProtocol(config, state, {"data_plane": plane}), sock=neighbours.listen()
    )
    await neighbours.announce(address)
    try:
        yield
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.shutdown()
        while state.tasks:
            await asyncio.gather(*state.tasks, return_exceptions=True)
        await neighbours.leave()
