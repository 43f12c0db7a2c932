"""OpenAI, and what its error bodies say (https://platform.openai.com/docs/guides/error-codes)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from gateway.providers.base import Headers, Provider, bearer
from gateway.providers.refusals import Refusal, error_of, read_status, seconds

__all__ = ["PROVIDER", "read_refusal"]

# "Rate limit reached for gpt-4o ... Please try again in 174ms." is all some answers say of the wait.
_TRY_AGAIN: Final = re.compile(r"try again in ([0-9hms.]+?)\.?(?:\s|$)")
# Of the 429s without a quota's type, those that only a payment cures.
_BILLING: Final = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})


def read_refusal(status: int, headers: Headers, body: bytes) -> Refusal:
    """OpenAI sends three kinds of 429, told apart only in the body.

    `insufficient_quota` (credit, spend limits: the code says which) is our account's matter and no wait
    cures it. A request larger than the whole minute's limit is never served. The rest is worth a retry.
    """
    refusal = read_status(status, headers, body)
    if status != 429:
        return refusal
    error = error_of(body)
    if error.get("type") == "insufficient_quota" or error.get("code") in _BILLING:
        return Refusal("credential", False)
    message = error.get("message")
    if not isinstance(message, str):
        return refusal
    if message.startswith("Request too large"):
        return replace(refusal, worth_it=False, after_s=None)
    said = _TRY_AGAIN.search(message)
    if refusal.after_s is None and said is not None:
        return replace(refusal, after_s=seconds(said[1]))
    return refusal


PROVIDER: Final = Provider(
    name="openai",
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    credential_env="OPENAI_API_KEY",
    price_providers=("openai",),
    paths={
        "openai_chat": "/chat/completions",
        "openai_completions": "/completions",
        "openai_embeddings": "/embeddings",
        "openai_responses": "/responses",
    },
    authorize=bearer,
    # Usage comes in the last chunk only, and hidden reasoning cannot be counted from what was relayed.
    on_abort="drain",
    read_refusal=read_refusal,
)
