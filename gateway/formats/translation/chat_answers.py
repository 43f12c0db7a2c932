"""Writes answers in the words of chat completions (openai-python, `types/chat/`).

Beyond the API's own fields: `reasoning_content` is the text of the model's reasoning (so named by DeepSeek),
`thinking_blocks` and `extra_content` are what a provider has to be sent back unchanged, and `images` are
generated ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.domain.usage import Usage
from gateway.formats.openai_envelope import write_usage

__all__ = ["DONE", "Chunks", "completion", "error_event"]

DONE: Final = b"data: [DONE]\n\n"
_ENCODER: Final = msgspec.json.Encoder()


class Chunks:
    """The chunks of one stream."""

    def __init__(self, created_s: int) -> None:
        self._created_s = created_s
        self._head = b""
        self.begin("", "")

    def begin(self, id_: str, model: str) -> None:
        """What every chunk says of the answer."""
        members = {
            "id": id_,
            "object": "chat.completion.chunk",
            "created": self._created_s,
            "model": model,
        }
        self._head = b"data: " + _ENCODER.encode(members)[:-1] + b',"choices":['

    def text(self, index: int, field: bytes, text: str) -> bytes:
        """A piece of text; what nearly every chunk is."""
        return b'%b{"index":%d,"delta":{"%b":%b},"logprobs":null,"finish_reason":null}]}\n\n' % (
            self._head,
            index,
            field,
            _ENCODER.encode(text),
        )

    def delta(
        self, index: int, delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None
    ) -> bytes:
        """Any other piece of a choice."""
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._head + _ENCODER.encode(choice) + b"]}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The chunk that tells the usage of all choices."""
        return self._head + b'],"usage":' + write_usage(usage) + b"}\n\n"


def completion(
    id_: str, created_s: int, model: str, choices: Sequence[Mapping[str, Any]], usage: Usage | None
) -> bytes:
    """A whole answer."""
    members: dict[str, Any] = {
        "id": id_,
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": choices,
    }
    if usage is not None:
        members["usage"] = msgspec.Raw(write_usage(usage))
    return _ENCODER.encode(members)


def error_event(error: bytes) -> bytes:
    """An error in the stream; nothing follows it."""
    return b"data: " + error + b"\n\n"
