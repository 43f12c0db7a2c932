"""Callers that stream without end, each call known by name to the client, the provider and the ledger.

A call's end user is its name in the ledger; its output cap, which no other call has, its name upstream.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.running import Client, Gateway, eventually

__all__ = ["FIRST_CAP", "Load", "Told", "calling"]

FIRST_CAP = 1_000
# A client whose connection is refused tries again, but not as fast as it can.
BACK_OFF_S = 0.05


@dataclass
class Told:
    """What a client was told of one call: refused with a status, broken off, or finished; when each piece of
    its answer came."""

    number: int
    status: int = 0
    is_finished: bool = False
    pieces: list[float] = field(default_factory=list)

    @property
    def end_user(self) -> str:
        """Its name in the ledger."""
        return f"user-{self.number}"

    @property
    def cap(self) -> int:
        """Its name at the provider."""
        return FIRST_CAP + self.number


class Load:
    """Callers in threads. `prompts` are sent in turn."""

    def __init__(self, client: Client, prompts: Sequence[str]) -> None:
        self.calls: list[Told] = []
        self.pieces = 0
        self._client = client
        self._prompts = prompts
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self) -> None:
        """One caller, until the load is over."""
        while not self._is_over.is_set():
            told = self._next()
            try:
                self._call(told)
            except (OSError, http.client.HTTPException):
                self._is_over.wait(BACK_OFF_S)

    def end(self) -> None:
        """Callers finish the call they are in."""
        self._is_over.set()

    def until_pieces(self, more: int) -> None:
        """Return once clients have got so many pieces of answers more."""
        goal = self.pieces + more
        eventually(lambda: self.pieces >= goal, f"{more} pieces more reach their clients", 60)

    def _next(self) -> Told:
        with self._lock:
            told = Told(next(self._numbers))
            self.calls.append(told)
            return told

    def _call(self, told: Told) -> None:
        prompt = self._prompts[told.number % len(self._prompts)]
        stream = self._client.stream("gpt-4.1", prompt, user=told.end_user, max_tokens=told.cap)
        try:
            told.status = stream.status
            if stream.status != 200:
                self._is_over.wait(BACK_OFF_S)
                return
            for event in stream.events():
                if event == b"[DONE]":
                    told.is_finished = True
                elif _has_text(event):
                    told.pieces.append(time.monotonic())
                    with self._lock:
                        self.pieces += 1
        finally:
            stream.close()


def _has_text(event: bytes) -> bool:
    choices = json.loads(event).get("choices") or [{}]
    return bool(choices[0].get("delta", {}).get("content"))


@contextmanager
def calling(gateway: Gateway, key: str, callers: int, prompts: Sequence[str]) -> Iterator[Load]:
    """So many callers, until the end of the block; then all have ended their calls."""
    load = Load(gateway.client(key), prompts)
    threads = [threading.Thread(target=load.run) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.end()
        for thread in threads:
            thread.join()
