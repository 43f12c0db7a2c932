"""What sets one provider's chat completions apart from another's, and the parts of them that never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.simulators.bill import BilledCall

__all__ = ["FAILURE", "FILTERS", "LATENCY", "PROMPT_FILTERS", "PROMPT_FILTER_CHUNK", "Habits", "chat_usage"]

_SAFE: Final = {"filtered": False, "severity": "safe"}
FILTERS: Final = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
PROMPT_FILTERS: Final = {
    "prompt_index": 0,
    "content_filter_results": {**FILTERS, "jailbreak": {"detected": False, "filtered": False}},
}
LATENCY: Final = {
    "engine_ttft_ms": 30,
    "engine_ttlt_ms": 700,
    "pre_inference_ms": 12,
    "total_duration_ms": 712,
}
# Azure's first chunk names nothing: no id, no model, no choices.
PROMPT_FILTER_CHUNK: Final = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [PROMPT_FILTERS],
}
FAILURE: Final = {
    "error": {
        "message": "The server experienced an error while processing your request. We apologize for the "
        "inconvenience!",
        "type": "server_error",
        "param": None,
        "code": None,
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What sets one provider's chat completions apart from another's."""

    id_form: str = "chatcmpl-sim{:024x}"
    call_id_form: str = "call_sim{:020x}"
    fingerprint: str | None = "fp_simulated"
    service_tier: bool = True
    obfuscates: bool = True
    shows_thoughts: bool = False  # reasoning_content
    usage_with_finish: bool = False  # in the chunk that carries finish_reason, asked for or not
    cache_split: bool = False  # prompt_cache_hit_tokens and _miss_tokens
    filters: bool = False  # prompt_filter_results and content_filter_results
    readable: bool = True  # a body has line breaks and an indent


def chat_usage(billed: BilledCall, output: int, reasoning: int, habits: Habits) -> dict[str, Any]:
    """The usage object of a chat completion whose input is that of the bill."""
    prompt = billed.input_total
    written = billed.cache_write_5m + billed.cache_write_1h
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output + reasoning,
        "total_tokens": prompt + output + reasoning,
        "prompt_tokens_details": {"cached_tokens": billed.cache_read},
    }
    if habits.cache_split:
        if reasoning:
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        missed = prompt - billed.cache_read
        return usage | {"prompt_cache_hit_tokens": billed.cache_read, "prompt_cache_miss_tokens": missed}
    usage["prompt_tokens_details"]["audio_tokens"] = 0
    if written:
        usage["prompt_tokens_details"]["cache_write_tokens"] = written
    usage["completion_tokens_details"] = {
        "reasoning_tokens": reasoning,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    return usage
