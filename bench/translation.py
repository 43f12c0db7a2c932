"""Translation: what a streamed event costs the gateway native, and translated for another dialect's SDK.

The upstream is the simulated provider of that dialect, on the load's core; the gateway's CPU time is divided
by the events it relayed. Both ways take turns in every round.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from rich.table import Table

from bench.machine import GATEWAY_CORE, LOAD_CORE, OUT, Process, free_port, running, tree
from bench.sockets import cpu_s
from bench.variants import ADMIN_KEY, post
from gateway.simulators import SimulatedProviders

__all__ = ["measure", "table"]

EVENTS: Final = 400
CALLS: Final = 40
AT_ONCE: Final = 4
PROMPT: Final = f"hello [[sim: words={EVENTS}]]"
CHAT: Final = "/v1/chat/completions"
ASKED: Final = {"messages": [{"role": "user", "content": PROMPT}], "stream": True, "max_tokens": EVENTS}
# The dialect of the upstream, the way there, the address asked, and the body.
WAYS: Final[tuple[tuple[str, str, str, dict[str, Any]], ...]] = (
    ("OpenAI", "native", CHAT, {"model": "gpt-4.1", **ASKED}),
    ("OpenAI", "translated", "/v1/messages", {"model": "gpt-4.1", **ASKED}),
    ("Anthropic", "native", "/v1/messages", {"model": "claude-haiku-4-5", **ASKED}),
    ("Anthropic", "translated", CHAT, {"model": "claude-haiku-4-5", **ASKED}),
    (
        "Gemini",
        "native",
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        {
            "contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
            "generationConfig": {"maxOutputTokens": EVENTS, "thinkingConfig": {"thinkingBudget": 0}},
        },
    ),
    (
        "Gemini",
        "translated",
        CHAT,
        {"model": "gemini-2.5-flash", "reasoning_effort": "none", **ASKED},
    ),
)


def measure(rounds: int) -> list[dict[str, Any]]:
    """CPU of the gateway an event, in microseconds, by upstream and way: the median of the rounds."""
    found: dict[tuple[str, str], list[float]] = {(upstream, way): [] for upstream, way, _, _ in WAYS}
    os.sched_setaffinity(0, {LOAD_CORE})
    with SimulatedProviders() as providers, tempfile.TemporaryDirectory() as folder:
        providers.defaults(pace_ms=0, group=1)
        port = free_port()
        env = {
            "TOLLGATE_ADMIN_KEY": ADMIN_KEY,
            "TOLLGATE_SERVER__PORT": str(port),
            "TOLLGATE_SERVER__DATA_DIR": folder,
        }
        for name in ("openai", "anthropic", "gemini"):
            env[f"TOLLGATE_PROVIDERS__{name.upper()}__BASE_URL"] = providers.url(name)
            env[f"TOLLGATE_PROVIDERS__{name.upper()}__CREDENTIAL"] = "sk-simulated"
        OUT.mkdir(exist_ok=True)
        with running(Process([sys.executable, "-m", "gateway", "serve"], GATEWAY_CORE, env)) as process:
            process.wait_for_port(port)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            account = post(connection, "/admin/accounts", {"name": "bench"})["id"]
            key = str(post(connection, "/admin/keys", {"account": account, "name": "bench"})["key"])
            for _ in range(rounds):
                for upstream, way, path, body in WAYS:
                    before = cpu_s(tree(process.pid))
                    with ThreadPoolExecutor(AT_ONCE) as threads:
                        list(threads.map(lambda _, p=path, b=body: _call(port, key, p, b), range(CALLS)))
                    took_s = cpu_s(tree(process.pid)) - before
                    found[upstream, way].append(took_s * 1e6 / (CALLS * EVENTS))
    return [
        {"upstream": upstream, "way": way, "us": statistics.median(figures), "rounds": figures}
        for (upstream, way), figures in found.items()
    ]


def _call(port: int, key: str, path: str, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if path == "/v1/messages":
        headers["anthropic-version"] = "2023-06-01"
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"bench: {path} answered {answer.status}: {text[:300].decode('utf-8', 'replace')}")


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line an upstream."""
    shown = Table(title="translation: gateway CPU us an event", title_justify="left")
    for column in ("upstream speaks", "native", "translated", "ratio"):
        shown.add_column(column, justify="left" if column == "upstream speaks" else "right")
    by_way = {(row["upstream"], row["way"]): row["us"] for row in rows}
    for upstream in dict.fromkeys(row["upstream"] for row in rows):
        native, translated = by_way[upstream, "native"], by_way[upstream, "translated"]
        shown.add_row(upstream, f"{native:.1f}", f"{translated:.1f}", f"{translated / native:.2f}")
    return shown
