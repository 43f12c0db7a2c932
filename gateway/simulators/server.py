"""Runs the simulated providers: in a thread beside the tests, or as a process of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

import uvicorn

from gateway.simulators.app import PREFIXES, build_app
from gateway.simulators.bill import BilledCall, SeenRequest
from gateway.simulators.stage import Played, Stage
from gateway.simulators.wire import SimulatedProtocol

__all__ = ["SimulatedProviders", "SimulatedServer", "listening_socket"]

_T = TypeVar("_T")
# Longer than any pool keeps an idle connection, so that a reused one is never the one just being closed.
_KEEP_ALIVE_S: Final = 300
_BACKLOG: Final = 1_024
_PATIENCE_S: Final = 60.0


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket that already queues connections; port 0 picks a free one."""
    sock = socket.create_server((host, port), backlog=_BACKLOG)
    sock.setblocking(False)
    return sock


class SimulatedServer(uvicorn.Server):
    """uvicorn, stopped at once: every connection is broken, as nobody is left to wait for an answer."""

    def __init__(self, stage: Stage) -> None:
        config = uvicorn.Config(
            build_app(stage),
            http=SimulatedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            backlog=_BACKLOG,
        )
        config.load()
        super().__init__(config)
        self._stage = stage
        self._stopping = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Give connections the stage they play on."""
        self.loop = asyncio.get_running_loop()
        self.lifespan.state["stage"] = self._stage
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Wait to be stopped."""
        await self._stopping.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a signal."""
        super().handle_exit(sig, frame)
        self.stop()

    def stop(self) -> None:
        """Make the server return; from any thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stopping.set)

    def close_idle(self) -> None:
        """Close the connections that have no call."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, SimulatedProtocol) and connection.idle:
                connection.transport.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the socket and break every connection; calls end as if their clients had left."""
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._stage.holds.clear()
        tasks = list(self.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=1)


class SimulatedProviders:
    """Simulated providers in a thread with an event loop of its own, on a free port.

    Use it as a context manager, or call `stop`. `bill`, `requests`, `release` and the setters may be called
    from any thread and wait for no network; the `until_` methods are awaited in the caller's loop.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.stage = Stage()
        self._socket = listening_socket(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self._server = SimulatedServer(self.stage)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-providers", daemon=True)
        self._thread.start()
        self._started.wait(_PATIENCE_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._server.loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve(sockets=[self._socket])

    def __enter__(self) -> SimulatedProviders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """``http://host:port``, without a path."""
        return f"http://{self.host}:{self.port}"

    def url(self, provider: str) -> str:
        """The base URL of a provider, as its official SDK takes it."""
        return self.address + PREFIXES[provider]

    def stop(self) -> None:
        """End the server and break its connections. Once is enough; twice does no harm."""
        self._server.stop()
        self._thread.join(_PATIENCE_S)

    def bill(self, provider: str | None = None) -> list[BilledCall]:
        """Every call so far, oldest first, or those of one provider. The lines grow with their calls."""
        return [call for call in self.stage.bill.calls() if provider in (None, call.provider)]

    def requests(self, last: int | None = None) -> list[SeenRequest]:
        """The latest requests as they arrived, oldest first, without secrets."""
        return self.stage.transcript.last(last)

    def release(self, name: str) -> None:
        """Let calls through that hold at a name, now and later."""
        self._soon(self.stage.holds.release, name)

    def reset(self) -> None:
        """Forget bill, transcript, defaults, keys and holds."""
        self._soon(self.stage.reset)

    def defaults(self, provider: str = "*", **values: Any) -> None:
        """Set fields of Behaviour for every later call of a provider, or of all."""
        self._soon(self.stage.set_defaults, provider, values)

    def play(self, provider: str, *answers: Played) -> None:
        """Answer a provider's next calls with these, one each, whatever they ask."""
        self._soon(self.stage.played[provider].extend, answers)

    def close_idle(self) -> None:
        """Close every connection that is between two calls, as servers do without a warning."""
        self._soon(self._server.close_idle)

    def accept_keys(self, provider: str, keys: Sequence[str]) -> None:
        """Refuse every key of a provider but these."""
        self._soon(self.stage.keys.__setitem__, provider, frozenset(keys))

    def deploy(self, deployments: Mapping[str, str]) -> None:
        """Name Azure deployments and the models behind them."""
        self._soon(self.stage.deployments.update, deployments)

    async def until_held(self, name: str, count: int = 1) -> None:
        """Return once so many calls have arrived at a hold."""
        await self._ask(self.stage.until(lambda: self.stage.holds.waiting(name) >= count))

    async def until_ended(self, count: int) -> list[BilledCall]:
        """Return the bill once so many calls have ended."""
        await self._ask(self.stage.until(lambda: self.stage.bill.ended() >= count))
        return self.bill()

    async def until_called(self, count: int) -> list[BilledCall]:
        """Return the bill once so many calls have arrived."""
        await self._ask(self.stage.until(lambda: len(self.stage.bill.calls()) >= count))
        return self.bill()

    def _soon(self, act: Any, *arguments: Any) -> None:
        """Run something on the server's loop and wait for it, which takes microseconds."""

        async def run() -> None:
            act(*arguments)

        asyncio.run_coroutine_threadsafe(run(), self._loop()).result(_PATIENCE_S)

    async def _ask(self, question: Coroutine[Any, Any, _T]) -> _T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._loop()))

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._server.loop is None:
            raise RuntimeError("the simulated providers did not start")
        return self._server.loop
