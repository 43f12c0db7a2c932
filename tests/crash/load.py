"""Clients of many threads that call and call, and note of each call what its client saw.

A call is known everywhere by its number: it is the end user in the ledger, and a word of the prompt that the
simulated provider was sent.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.running import Client, Gateway, eventually

__all__ = ["Load", "Sent", "calling"]

CALLERS = 10
STREAMED = 0.6
CAP = {"max_tokens": 60}
MODELS = ("gpt-4.1", "gpt-4o-mini", "deepseek-v3.2")
RESTART_LIMIT_S = 60.0


@dataclass(slots=True)
class Sent:
    """One call as its client saw it. `status` is 0 while no answer has come."""

    number: int
    model: str
    prompt: str
    streamed: bool
    status: int = 0
    code: str = ""
    events: int = 0
    has_ended: bool = False

    @property
    def name(self) -> str:
        """The end user it is booked under."""
        return f"n{self.number}"

    @property
    def body(self) -> dict[str, Any]:
        """What was asked."""
        fields = {"stream": True} if self.streamed else {}
        return {"model": self.model, "messages": [{"role": "user", "content": self.prompt}], **fields, **CAP}


class Load:
    """Callers that share a client until they are told to stop."""

    def __init__(self, gateway: Gateway, key: str, seed: int, pace_ms: int) -> None:
        self.sent: list[Sent] = []
        self._gateway = gateway
        self._client: Client = gateway.client(key)
        self._numbers = itertools.count(1)
        self._pace_ms = pace_ms
        self._is_over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1_000 + caller),))
            for caller in range(CALLERS)
        ]

    def start(self) -> None:
        """Begin to call."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no more calls, and wait for those that run; raises what went wrong in a caller."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def until_answered(self, more: int) -> None:
        """Return when so many calls more than now have their answer's end."""
        goal = self._ended() + more
        eventually(lambda: self._ended() >= goal or bool(self._failures), "calls are answered", 60.0)

    def until_streaming(self) -> None:
        """Return when the clients of some streams have seen the beginning and not yet the end."""

        def look() -> bool:
            return any(each.events and not each.has_ended for each in self.sent[-CALLERS:])

        eventually(look, "streams run")

    def _ended(self) -> int:
        return sum(each.has_ended for each in list(self.sent))

    def _run(self, draw: random.Random) -> None:
        try:
            while not self._is_over.is_set():
                self._call(draw)
        except BaseException as error:
            # It is raised again where the load is stopped.
            self._failures.append(error)

    def _call(self, draw: random.Random) -> None:
        words, pace_ms = draw.randint(1, 50), draw.choice([0, self._pace_ms // 4, self._pace_ms])
        number = next(self._numbers)
        prompt = f"[[sim: words={words} pace_ms={pace_ms}]] Number {number} asks about rain."
        sent = Sent(number, draw.choice(MODELS), prompt, draw.random() < STREAMED)
        self.sent.append(sent)
        try:
            if sent.streamed:
                self._stream(sent)
            else:
                self._chat(sent)
        except (OSError, http.client.HTTPException):
            self._until_connected()

    def _chat(self, sent: Sent) -> None:
        answer = self._client.chat(sent.model, sent.prompt, headers=_named(sent), **CAP)
        sent.status = answer.status
        sent.has_ended = answer.status == 200
        sent.code = "" if sent.has_ended else answer.code

    def _stream(self, sent: Sent) -> None:
        stream = self._client.stream(sent.model, sent.prompt, headers=_named(sent), **CAP)
        try:
            sent.status = stream.status
            if stream.status != 200:
                sent.code = json.loads(stream.read())["error"]["tollgate"]["code"]
                return
            for event in stream.events():
                sent.events += 1
                sent.has_ended = event == b"[DONE]"
        finally:
            stream.close()

    def _until_connected(self) -> None:
        """Wait for the gateway to come back, or for the end of the load."""

        def look() -> bool:
            if self._is_over.is_set():
                return True
            try:
                socket.create_connection(("127.0.0.1", self._gateway.port), 5).close()
            except OSError:
                return False
            return True

        eventually(look, "the gateway can be connected to", RESTART_LIMIT_S)


def _named(sent: Sent) -> dict[str, str]:
    return {"x_tollgate_end_user": sent.name}


@contextmanager
def calling(gateway: Gateway, key: str, *, seed: int, pace_ms: int = 20) -> Iterator[Load]:
    """A load that runs for as long as the block; whatever happens, no thread of it is left."""
    load = Load(gateway, key, seed, pace_ms)
    load.start()
    try:
        yield load
    finally:
        load.stop()
