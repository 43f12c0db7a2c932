"""One exchange of every format, as plain as can be: what the contract suite and the fuzzer begin with.

A format that is added adds its sample here; the suite says so if it does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["MODEL", "SAMPLES", "Sample"]

MODEL: Final = "some-model"
_PROMPT: Final = "Name a harbour town."
_SAID: Final = ("Whit", "by", " Harbour")
_TEXT: Final = "".join(_SAID)


@dataclass(frozen=True)
class Sample:
    """A request with a cap of 50 tokens, its whole reply and its stream (b"" where there is none).

    `usage` is what both report; `text` what was said; `free` that the endpoint costs nothing.
    """

    path: str
    request: bytes
    reply: bytes
    stream: bytes
    usage: dict[str, int]
    text: str = _TEXT
    free: bool = False


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _events(*events: Any, end: bytes = b"") -> bytes:
    return b"".join(b"data: %b\n\n" % _json(event) for event in events) + end


def _named(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _json(event)) for event in events)


def _chat() -> Sample:
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    deltas = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in _SAID]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return Sample(
        "/v1/chat/completions",
        _json(
            {
                "model": MODEL,
                "max_completion_tokens": 50,
                "messages": [{"role": "user", "content": _PROMPT}],
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ),
        _json(
            {
                **head,
                "object": "chat.completion",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": _TEXT}}],
                "usage": usage,
            }
        ),
        _events(
            *({**head, "choices": [choice], "usage": None} for choice in (*deltas, last)),
            {**head, "choices": [], "usage": usage},
            end=b"data: [DONE]\n\n",
        ),
        {"input": 20, "output": 9},
    )


def _completions() -> Sample:
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
    head = {"id": "c1", "object": "text_completion", "created": 1, "model": MODEL}
    pieces = [{"index": 0, "text": text, "finish_reason": None} for text in _SAID]
    last = {"index": 0, "text": "", "finish_reason": "stop"}
    return Sample(
        "/v1/completions",
        _json(
            {
                "model": MODEL,
                "max_tokens": 50,
                "prompt": _PROMPT,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ),
        _json({**head, "choices": [{"index": 0, "text": _TEXT}], "usage": usage}),
        _events(
            *({**head, "choices": [choice]} for choice in (*pieces, last)),
            {**head, "choices": [], "usage": usage},
            end=b"data: [DONE]\n\n",
        ),
        {"input": 20, "output": 9},
    )


def _embeddings() -> Sample:
    return Sample(
        "/v1/embeddings",
        _json({"model": MODEL, "input": _PROMPT}),
        _json(
            {
                "object": "list",
                "model": MODEL,
                "data": [{"object": "embedding", "index": 0, "embedding": "AAAA"}],
                "usage": {"prompt_tokens": 20, "total_tokens": 20},
            }
        ),
        b"",
        {"input": 20},
        text="",
    )


def _responses() -> Sample:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": _TEXT, "annotations": []}],
    }
    usage = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
    begun = {"id": "resp_1", "object": "response", "status": "in_progress", "model": MODEL, "error": None}
    done = {**begun, "status": "completed", "output": [message], "usage": usage}
    return Sample(
        "/v1/responses",
        _json({"model": MODEL, "max_output_tokens": 50, "input": _PROMPT, "stream": True}),
        _json(done),
        _named(
            {"type": "response.created", "sequence_number": 0, "response": begun},
            *(
                {"type": "response.output_text.delta", "sequence_number": 1 + n, "delta": text, **at}
                for n, text in enumerate(_SAID)
            ),
            {"type": "response.completed", "sequence_number": 9, "response": done},
        ),
        {"input": 20, "output": 9},
    )


def _messages() -> Sample:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    return Sample(
        "/v1/messages",
        _json(
            {
                "model": MODEL,
                "max_tokens": 50,
                "messages": [{"role": "user", "content": _PROMPT}],
                "stream": True,
            }
        ),
        _json(
            {
                **message,
                "content": [{"type": "text", "text": _TEXT}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 20, "output_tokens": 9},
            }
        ),
        _named(
            {
                "type": "message_start",
                "message": {**message, "content": [], "usage": {"input_tokens": 20, "output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
                for text in _SAID
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ),
        {"input": 20, "output": 9},
    )


def _count_tokens() -> Sample:
    return Sample(
        "/v1/messages/count_tokens",
        _json({"model": MODEL, "messages": [{"role": "user", "content": _PROMPT}]}),
        b'{"input_tokens":20}',
        b"",
        {},
        text="",
        free=True,
    )


_CONTENT: Final = {"role": "user", "parts": [{"text": _PROMPT}]}
_GEMINI_USAGE: Final = {"promptTokenCount": 20, "candidatesTokenCount": 9, "totalTokenCount": 29}


def _responses_of_gemini() -> list[Any]:
    """The responses of a stream; the last one finishes it."""
    chunks = []
    for text in _SAID:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
        if text == _SAID[-1]:
            candidate["finishReason"] = "STOP"
        chunks.append({"candidates": [candidate], "usageMetadata": _GEMINI_USAGE, "modelVersion": MODEL})
    return chunks


def _gemini(method: str, stream: bytes) -> Sample:
    whole = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": _TEXT}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": _GEMINI_USAGE,
        "modelVersion": MODEL,
    }
    return Sample(
        f"/v1beta/models/{MODEL}:{method}",
        _json({"contents": [_CONTENT], "generationConfig": {"maxOutputTokens": 50}}),
        _json(whole),
        stream,
        {"input": 20, "output": 9},
    )


def _gemini_embed(method: str, request: Any, reply: Any) -> Sample:
    return Sample(
        f"/v1beta/models/{MODEL}:{method}",
        _json(request),
        _json({**reply, "usageMetadata": {"promptTokenCount": 20}}),
        b"",
        {"input": 20},
        text="",
    )


SAMPLES: Final[dict[str, Sample]] = {
    "openai_chat": _chat(),
    "openai_completions": _completions(),
    "openai_embeddings": _embeddings(),
    "openai_responses": _responses(),
    "anthropic_messages": _messages(),
    "anthropic_count_tokens": _count_tokens(),
    "gemini_generate": _gemini("generateContent", b""),
    "gemini_stream": _gemini(
        "streamGenerateContent",
        b"".join(b"data: %b\r\n\r\n" % _json(chunk) for chunk in _responses_of_gemini()),
    ),
    "gemini_stream_array": _gemini(
        "streamGenerateContent", b"[" + b"\n,\r\n".join(map(_json, _responses_of_gemini())) + b"\n]\n"
    ),
    "gemini_embed": _gemini_embed("embedContent", {"content": _CONTENT}, {"embedding": {"values": [0.5]}}),
    "gemini_batch_embed": _gemini_embed(
        "batchEmbedContents",
        {"requests": [{"model": f"models/{MODEL}", "content": _CONTENT}]},
        {"embeddings": [{"values": [0.5]}]},
    ),
    "gemini_count_tokens": Sample(
        f"/v1beta/models/{MODEL}:countTokens",
        _json({"contents": [_CONTENT]}),
        b'{"totalTokens":20}',
        b"",
        {},
        text="",
        free=True,
    ),
}
