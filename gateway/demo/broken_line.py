"""An answer over a WebSocket whose line is cut while it is told, as its reader sees it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from websockets.sync.client import ClientConnection, connect

__all__ = ["BrokenAnswer", "follow"]


@dataclass(slots=True)
class BrokenAnswer:
    """What has come so far: the text by connection, and the number of the last frame."""

    parts: list[str] = field(default_factory=list)
    call: str = ""
    seq: int = 0
    tokens: int = 0
    cost: Decimal | None = None  # once it is whole
    is_cut: bool = False  # at this moment there is no connection

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.parts)

    def take(self, frame: dict[str, Any]) -> None:
        """Read one frame."""
        self.call = frame.get("call", self.call)
        if "choices" not in frame:
            return
        self.seq = frame["seq"]
        self.parts[-1] += frame["choices"][0]["delta"].get("content") or ""
        usage = frame.get("usage")
        if usage:
            self.tokens = usage["completion_tokens"]
            self.cost = Decimal(str(usage["cost"]))


def follow(
    port: int, key: str, request: dict[str, Any], cuts: Sequence[int], answer: BrokenAnswer
) -> Iterator[None]:
    """Ask, cut the line after each of these frames and come back; yields whenever there is more to see."""
    for cut in (*cuts, None):
        with connect(
            f"ws://127.0.0.1:{port}/v1/chat/completions/stream",
            additional_headers={"authorization": f"Bearer {key}"},
        ) as line:
            resume = {"type": "resume", "call": answer.call, "after": answer.seq}
            line.send(json.dumps(resume if answer.call else request))
            answer.parts.append("")
            answer.is_cut = False
            for _ in _frames(line, answer):
                yield
                if cut is not None and answer.seq >= cut:
                    line.socket.shutdown(socket.SHUT_RDWR)
                    break
        if answer.cost is not None:
            return
        answer.is_cut = True
        yield


def _frames(line: ClientConnection, answer: BrokenAnswer) -> Iterator[None]:
    for text in line:
        answer.take(json.loads(text))
        yield
        if answer.cost is not None:
            return
