"""Recorded requests, sent to the simulators: what the real one took is taken, what it refused is refused.

The recordings are not part of the project; where they are not there, the test says so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.simulators.raw import PATHS, connect, hear, request_bytes

BESIDE = Path(__file__).parents[3] / "shared" / "recordings"
KEYS = {"x-api-key": "k", "api-key": "k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
PREFIXES = {"openai": "/openai", "deepseek": "/deepseek", "anthropic": "/anthropic", "gemini": "/gemini"}
# Refused for their key, for a quota, or for a text that the recording leaves out.
NOT_FOR_THE_REQUEST = re.compile(r"-401|-429|gemini-.*error-400|embed-error")
# Served elsewhere than what is simulated.
NOT_SIMULATED = re.compile(r"vertex-|deepseek-responses-")
# Where the text depends on how the real parser counts columns, or on the wording of the day.
WORDED_OTHERWISE = {"deepseek-chat-error-400-image-part", "gemini-streamgeneratecontent-stream-error-404-2"}


@dataclass(frozen=True)
class Sent:
    """A recorded request: its path at the simulators, its body, and what the real provider said."""

    name: str
    path: str
    body: bytes
    status: int
    message: str | None


def sent_requests() -> Iterator[Sent]:
    """Every recorded request that a simulator can judge."""
    root = Path(os.environ.get("TOLLGATE_RECORDINGS") or BESIDE)
    for meta_path in sorted(root.glob("*/meta.json")):
        name, request = meta_path.parent.name, meta_path.with_name("request.json")
        if not request.exists() or NOT_FOR_THE_REQUEST.search(name) or NOT_SIMULATED.match(name):
            continue
        body = request.read_bytes()
        if b"<MASSIVE_TEXT>" not in body:
            meta = json.loads(meta_path.read_text())
            message = (meta["error"] or {}).get("message")
            yield Sent(name, simulated_path(name, meta["request"]["url"]), body, meta["http_status"], message)


def simulated_path(name: str, url: str) -> str:
    """Where a recorded call goes at the simulators."""
    if name.startswith("azure"):
        return PATHS["azure"]
    path = re.sub(r"^https?://[^/]+", "", url) if "://" in url else url
    if not name.startswith("gemini"):
        path = path.partition("?")[0]
    return PREFIXES[name.partition("-")[0]] + re.sub(r"[?&]key=[^&]*", "", path)


def parameters() -> list[Any]:
    """The requests, or one parameter that says why there are none."""
    found = [pytest.param(sent, id=sent.name) for sent in sent_requests()]
    reason = f"recordings not present: neither TOLLGATE_RECORDINGS nor {BESIDE} holds any"
    return found or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatedProviders]:
    with SimulatedProviders() as providers:
        yield providers


@pytest.mark.parametrize("sent", parameters())
def test_a_recorded_request_fares_as_it_did(running: SimulatedProviders, sent: Sent) -> None:
    with connect(running) as sock:
        sock.sendall(request_bytes(sent.path, sent.body, KEYS))
        heard = hear(sock)
    assert heard.status == sent.status, heard.body[:500]
    if sent.status != 200 and sent.name not in WORDED_OTHERWISE:
        answer = json.loads(heard.body)
        assert answer["error"]["message"] == sent.message
