"""Which headers travel, both ways. By allow-list: what is not named here stays where it is.

Hop-by-hop headers (RFC 9110 7.6.1), framing and credentials are nobody's to forward and are in neither
table: each side of the gateway writes its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["DOWN", "UP", "content_encoding", "headers_down", "headers_up"]

# Client to provider. Left behind on purpose: authorization and its kin (the client's key is ours),
# openai-organization, openai-project and x-goog-user-project (they choose who pays), idempotency-key (kept
# by the gateway), user-agent and x-stainless-* (they tell a tenant's software to a shared account), cookies.
UP: Final = {
    b"content-type": "says what the body is",
    b"accept": "asks for a stream or for JSON",
    b"openai-beta": "opts in to beta features of the OpenAI API",
    b"anthropic-version": "chooses the API's shape; required by Anthropic",
    b"anthropic-beta": "opts in to beta features of the Anthropic API",
    b"traceparent": "joins the provider's part to the client's trace (W3C Trace Context)",
    b"tracestate": "belongs to traceparent",
}

# Provider to client. Left behind on purpose: every rate limit (it is the shared account's, and would tell one
# tenant of the others), organisation, project and region, set-cookie, server, via, cf-*, alt-svc.
DOWN: Final = {
    b"content-type": "says what the body is",
    b"content-encoding": "there only when the provider encoded a body that was asked for as it is",
    b"x-request-id": "the provider's name for the request, which its support asks for (OpenAI, Azure)",
    b"request-id": "the same (Anthropic)",
    b"apim-request-id": "the same (Azure's front door)",
    b"x-ds-trace-id": "the same (DeepSeek)",
    b"openai-processing-ms": "the provider's own time, read by the SDK's users",
    b"openai-version": "the API version that answered",
    b"x-gemini-service-tier": "the tier that served the call",
    b"retry-after": "when a retry may succeed; on errors only",
    b"retry-after-ms": "the same, in milliseconds; on errors only",
    b"x-should-retry": "the provider's advice to its SDK; on errors only",
}

_ON_ERRORS_ONLY: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})
# Anthropic sends retry-after with status 200 too, where it tells of the shared account's limits.
_DOWN_ON_SUCCESS: Final = frozenset(DOWN) - _ON_ERRORS_ONLY
_FIRST_ERROR: Final = 400


def headers_up(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of a client's request headers goes to the provider; names in lower case, order kept."""
    return [header for header in headers if header[0] in UP]


def headers_down(status: int, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of a provider's response headers goes to the client; names in lower case, order kept."""
    allowed = DOWN if status >= _FIRST_ERROR else _DOWN_ON_SUCCESS
    return [header for header in headers if header[0] in allowed]


def content_encoding(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """How the body is encoded although `identity` was asked for; b"" when it is not, as it should be.

    An encoded body can be passed on but not metered.
    """
    codings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    return b", ".join(coding for coding in codings if coding not in (b"", b"identity"))
