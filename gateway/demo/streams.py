"""Calls in flight, each in a thread, and what the watcher sees of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.demo.http import Api

__all__ = ["Ask", "Stream", "run"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One call to make."""

    model: str
    prompt: str
    max_tokens: int


@dataclass(slots=True)
class Stream:
    """One call as seen from outside, while it runs and after."""

    ask: Ask
    usd_per_token: Decimal
    text: str = ""
    tokens: int = 0
    cost: Decimal | None = None  # the gateway's figure, once the stream has ended
    error: dict[str, Any] = field(default_factory=dict)
    is_done: bool = False

    @property
    def cost_so_far(self) -> Decimal:
        """The gateway's figure, or what the tokens seen so far come to."""
        return self.cost if self.cost is not None else self.tokens * self.usd_per_token

    @property
    def state(self) -> str:
        """A word for the table."""
        if self.error:
            return "refused"
        return "done" if self.is_done else "streaming" if self.tokens else "admitted"

    def take(self, chunk: dict[str, Any]) -> None:
        """Read one chunk."""
        if "error" in chunk:
            self.error = chunk["error"]
            return
        for choice in chunk["choices"]:
            piece = choice["delta"].get("content") or ""
            if piece:
                self.text += piece
                self.tokens += 1
        usage = chunk.get("usage")
        if usage:
            self.tokens = usage["completion_tokens"]
            # JSON numbers of this size are exact to the nano-dollar as decimal text.
            self.cost = Decimal(str(usage["cost"]))


def run(
    api: Api, asks: Sequence[Ask], prices: dict[str, Decimal]
) -> tuple[list[Stream], list[threading.Thread]]:
    """Begin all calls at once; the streams to watch and the threads to wait for."""
    streams = [Stream(ask, prices[ask.model]) for ask in asks]
    threads = [threading.Thread(target=_follow, args=(api, stream), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    return streams, threads


def _follow(api: Api, stream: Stream) -> None:
    ask = stream.ask
    body = {
        "model": ask.model,
        "messages": [{"role": "user", "content": ask.prompt}],
        "max_tokens": ask.max_tokens,
        "stream_options": {"include_usage": True},
    }
    for chunk in api.stream(body):
        stream.take(chunk)
    stream.is_done = True
