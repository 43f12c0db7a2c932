"""Gateways as real processes for tests: start one, speak to it over sockets, stop it or kill it by its pid.

    with SimulatedProviders() as providers, running(tmp_path, providers, workers=2) as gateway:
        account = gateway.account("acme")
        key = gateway.key(account)
        answer = gateway.client(key).chat("gpt-4.1", "hello")

Nothing sleeps for a fixed time: whatever takes a moment is looked at again until it is there or a limit is
over, and then the failure carries the gateway's own words.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gateway.simulators import SimulatedProviders

__all__ = ["ADMIN_KEY", "Answer", "Client", "Gateway", "Stream", "eventually", "free_port", "running"]

T = TypeVar("T")

ADMIN_KEY: Final = "owner-key-of-the-tests"
START_LIMIT_S: Final = 180.0
STOP_LIMIT_S: Final = 120.0
ANSWER_LIMIT_S: Final = 120.0
# Below those that the kernel gives away: no connection that begins elsewhere takes one before it is used.
PORTS: Final = range(20_000, 32_000)
# A look costs less than a millisecond; this keeps a waiting test from taking a core.
LOOK_EVERY_S: Final = 0.02
# Simulated providers, by the name their settings have in the gateway.
PROVIDERS: Final = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "deepseek": "deepseek"}
# Its input ends when whoever started it dies, however that happens: then all of it goes too.
_SERVE: Final = """
import os, signal, threading
from gateway.serving import serve
threading.Thread(target=lambda: (os.read(0, 1), os.killpg(0, signal.SIGKILL)), daemon=True).start()
raise SystemExit(serve(os.environ, None, {}))
"""


def eventually(look: Callable[[], T | None], what: str, limit_s: float = 90.0) -> T:
    """The first answer of `look` that is neither None nor False; an error naming `what` after the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(LOOK_EVERY_S)


def free_port() -> int:
    """A port of this machine that nobody listens on, now or by the kernel's choice later."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The gateway's own code of a refusal, in any dialect; "" when it is none."""
        error = self.json.get("error", {})
        return str(error.get("tollgate", {}).get("code", "")) if isinstance(error, dict) else ""


class Stream:
    """An answer as it comes. Left early with `close`, the gateway sees a client that hangs up."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def events(self) -> Iterator[bytes]:
        """The data of each event, `[DONE]` too. Raises what the socket raises when the gateway dies."""
        for line in self._response:
            if line.startswith(b"data: "):
                yield line[6:].strip()

    def some(self, needle: bytes) -> bytes:
        """What has come once this is in it."""
        data = b""
        while needle not in data:
            more = self._response.read1()
            assert more, f"it ended without {needle!r}: {data!r}"
            data += more
        return data

    def next(self) -> bytes:
        """The next event's data."""
        return next(self.events())

    def read(self) -> bytes:
        """The rest."""
        return self._response.read()

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()


class Client:
    """Speaks to a gateway with one key, a connection for each call, so that threads may share it."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One exchange. `body` is a value for JSON, or bytes; `x_tollgate_tags=...` is a header."""
        connection, response = self._send(method, path, body, headers)
        try:
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The value that a GET which must succeed answers."""
        return self._good("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The value that a POST which must succeed answers."""
        return self._good("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        """The value that a PATCH which must succeed answers."""
        return self._good("PATCH", path, body)

    def delete(self, path: str) -> Any:
        """The value that a DELETE which must succeed answers."""
        return self._good("DELETE", path, None)

    def chat(
        self, model: str, prompt: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Answer:
        """A chat completion that is not streamed; `fields` go into the body."""
        return self.call("POST", "/v1/chat/completions", _chat(model, prompt, fields), **(headers or {}))

    def stream(
        self, model: str, prompt: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Stream:
        """A streamed chat completion."""
        body = _chat(model, prompt, {"stream": True, **fields})
        return Stream(*self._send("POST", "/v1/chat/completions", body, headers or {}))

    def open(self, method: str, path: str, body: Any, **headers: str) -> Stream:
        """An answer as it comes, to any path."""
        return Stream(*self._send(method, path, body, headers))

    def _good(self, method: str, path: str, body: Any) -> Any:
        answer = self.call(method, path, body)
        assert answer.status in (200, 201, 204), (method, path, answer.status, answer.body)
        return answer.json if answer.body else None

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_LIMIT_S)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._key:
            sent.setdefault("authorization", f"Bearer {self._key}")
        data = None
        if body is not None:
            sent.setdefault("content-type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, sent)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise


class Gateway:
    """A gateway's process: a worker itself, or the supervisor of several. Made by `running`."""

    def __init__(self, folder: Path, environment: Mapping[str, str], port: int, workers: int) -> None:
        self.folder = folder
        self.port = port
        self.workers = workers
        self.log = folder / "gateway.log"
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`http://host:port`, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """Journals and the embedded database."""
        return self.folder / "data"

    @property
    def database_url(self) -> str:
        """What the gateway keeps its ledger in."""
        given = self._environment.get("TOLLGATE_DATABASE__URL", "")
        return given or f"sqlite:///{self.data_dir.resolve() / 'tollgate.db'}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None, "it has been started"
        return self._process

    def client(self, key: str) -> Client:
        """A client with a virtual or an admin key, "" for none."""
        return Client(self.port, key)

    @property
    def admin(self) -> Client:
        """A client with the owner's key."""
        return self.client(ADMIN_KEY)

    def account(self, name: str, **fields: Any) -> str:
        """Make an account; its id."""
        return str(self.admin.post("/admin/accounts", {"name": name, **fields})["id"])

    def key(self, account: str, name: str = "test", **fields: Any) -> str:
        """Make a virtual key of the account; the key itself."""
        return str(self.admin.post("/admin/keys", {"account": account, "name": name, **fields})["key"])

    def budget(self, cap: str, **fields: Any) -> str:
        """Make a budget, in USD by the month unless told otherwise; its id."""
        body = {"name": "test", "unit": "usd", "period": "month", "cap": cap, **fields}
        return str(self.admin.post("/admin/budgets", body)["id"])

    def window(self, budget: str) -> dict[str, Any]:
        """The figures of a budget's running window."""
        found: dict[str, Any] = self.admin.get(f"/admin/budgets/{budget}")["window"]
        return found

    # The process.

    def start(self, limit_s: float = START_LIMIT_S) -> None:
        """Start, with the same settings and data as before, and wait until calls are taken."""
        with self.log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE.format(self.workers)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        self.wait_until_ready(limit_s)

    def wait_until_ready(self, limit_s: float = START_LIMIT_S) -> None:
        """Return once `/readyz` says yes."""

        def look() -> bool:
            assert self.process.poll() is None, f"the gateway ended:\n{self.words()}"
            try:
                return self.client("").call("GET", "/readyz").status == 200
            except OSError:
                return False

        eventually(look, "the gateway is ready", limit_s)

    def words(self) -> str:
        """What it wrote to stderr, all of it."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def worker_pids(self) -> list[int]:
        """The processes that serve calls."""
        if self.workers == 1:
            return [self.process.pid] if self.process.poll() is None else []
        return [pid for pid in _children(self.process.pid) if _is_worker(pid)]

    def kill(self) -> None:
        """kill -9 of every process of it, at once, and wait for the end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self._wait(STOP_LIMIT_S)

    def stop(self, limit_s: float = STOP_LIMIT_S) -> int:
        """SIGTERM to the process it was started as; its exit status."""
        self.process.terminate()
        return self._wait(limit_s)

    def _wait(self, limit_s: float) -> int:
        status = self.process.wait(limit_s)
        assert self.process.stdin is not None
        self.process.stdin.close()
        return status


@contextmanager
def running(
    folder: Path,
    providers: SimulatedProviders,
    *,
    workers: int = 1,
    database_url: str = "",
    settings: Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[Gateway]:
    """A gateway that is ready, with every simulated provider on; nothing of it is left afterwards.

    `settings` are environment variables (`TOLLGATE_LEDGER__WAIT_S`); without `database_url` it keeps a
    SQLite file in `folder`, which is also where its journals and its log are.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder, providers, port) | dict(settings or {})
    if database_url:
        environment["TOLLGATE_DATABASE__URL"] = database_url.replace("postgresql+psycopg://", "postgresql://")
    gateway = Gateway(folder, environment, port, workers)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.kill()


def _environment(folder: Path, providers: SimulatedProviders, port: int) -> dict[str, str]:
    foreign = ("TOLLGATE_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "DEEPSEEK_", "AZURE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {
        "TOLLGATE_ADMIN_KEY": ADMIN_KEY,
        "TOLLGATE_SERVER__PORT": str(port),
        "TOLLGATE_SERVER__DATA_DIR": str(folder / "data"),
    }
    for name, simulated in PROVIDERS.items():
        ours[f"TOLLGATE_PROVIDERS__{name.upper()}__BASE_URL"] = providers.url(simulated)
        ours[f"TOLLGATE_PROVIDERS__{name.upper()}__CREDENTIAL"] = f"sk-simulated-{name}"
    return {**inherited, **ours}


def _chat(model: str, prompt: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_worker(pid: int) -> bool:
    """Whether it is one that serves; the supervisor also has a child that tracks its resources."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
