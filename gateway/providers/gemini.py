"""Google Gemini API (https://ai.google.dev/gemini-api/docs): what others say in headers is in its bodies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from gateway.providers.base import Headers, Provider, api_key_header
from gateway.providers.refusals import Refusal, error_of, read_status, seconds

__all__ = ["PROVIDER"]

_TYPE: Final = "type.googleapis.com/google.rpc."
_TUNED: Final = "tunedModels/"
_PATHS: Final = {
    "gemini_generate": "/v1beta/{model}:generateContent",
    "gemini_stream": "/v1beta/{model}:streamGenerateContent?alt=sse",
    "gemini_stream_array": "/v1beta/{model}:streamGenerateContent",
    "gemini_count_tokens": "/v1beta/{model}:countTokens",
    "gemini_embed": "/v1beta/{model}:embedContent",
    "gemini_batch_embed": "/v1beta/{model}:batchEmbedContents",
}


def _locate(base_path: str, template: str, model: str, api_version: str | None) -> str:
    """A model is addressed by its resource's name, `models/...`; a tuned one by `tunedModels/...`."""
    kind = _TUNED if model.startswith(_TUNED) else "models/"
    return base_path + template.replace("{model}", kind + quote(model.removeprefix(kind), safe=""))


def _read_refusal(status: int, headers: Headers, body: bytes) -> Refusal:
    """google.rpc details: a bad key is a 400 with reason API_KEY_INVALID; a wait is a RetryInfo.

    A spent daily quota also comes with a RetryInfo of some seconds, which would only be refused again.
    """
    refusal = read_status(status, headers, body)
    error = error_of(body)
    reasons = {detail.get("reason") for detail in _details(error, "ErrorInfo")}
    if status == 400 and reasons & {"API_KEY_INVALID", "API_KEY_EXPIRED"}:
        return Refusal("credential", False)
    if status != 429:
        return refusal
    quotas = [str(each.get("quotaId")) for each in _violations(error)]
    if any("PerDay" in quota for quota in quotas):
        return replace(refusal, worth_it=False, after_s=None)
    delays = [seconds(str(detail.get("retryDelay"))) for detail in _details(error, "RetryInfo")]
    known = [delay for delay in delays if delay is not None]
    return replace(refusal, after_s=max(known)) if known else refusal


def _details(error: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("@type") == _TYPE + kind:
            yield detail


def _violations(error: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for detail in _details(error, "QuotaFailure"):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield violation


PROVIDER: Final = Provider(
    name="gemini",
    title="Google Gemini",
    base_url="https://generativelanguage.googleapis.com",
    credential_env="GEMINI_API_KEY",
    price_providers=("google",),
    paths=_PATHS,
    authorize=api_key_header(b"x-goog-api-key"),
    # Every event carries the usage so far, thoughts included, so a cut stream is known nearly exactly.
    on_abort="stop",
    locate=_locate,
    read_refusal=_read_refusal,
)
