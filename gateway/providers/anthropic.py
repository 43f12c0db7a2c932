"""Anthropic (https://docs.anthropic.com/en/api/errors)."""

from __future__ import annotations

from typing import Final

from gateway.providers.base import Headers, Provider, api_key_header
from gateway.providers.refusals import Refusal, error_of, read_status

__all__ = ["PROVIDER"]


def _read_refusal(status: int, headers: Headers, body: bytes) -> Refusal:
    """An empty account is refused as if the request were wrong: status 400, `invalid_request_error`."""
    if status == 400:
        error = error_of(body)
        is_unpaid = error.get("type") == "billing_error" or "credit balance is too low" in str(
            error.get("message")
        )
        if is_unpaid:
            return Refusal("credential", False)
    return read_status(status, headers, body)


PROVIDER: Final = Provider(
    name="anthropic",
    title="Anthropic",
    base_url="https://api.anthropic.com",
    credential_env="ANTHROPIC_API_KEY",
    price_providers=("anthropic",),
    paths={
        "anthropic_messages": "/v1/messages",
        "anthropic_count_tokens": "/v1/messages/count_tokens",
    },
    authorize=api_key_header(b"x-api-key"),
    # Output is known in full only from the last event; hidden thinking cannot be counted.
    on_abort="drain",
    # Required by every request; a client that knows a newer one says so itself.
    default_headers=((b"anthropic-version", b"2023-06-01"),),
    read_refusal=_read_refusal,
)
