"""Usage and costs as Anthropic's Admin API reports them, so that its clients read ours by base URL.

Shapes: Anthropic's Admin API reference, "Get Messages usage report" and "Get cost report". A workspace is an
account. Input is told without cached tokens; amounts are decimal strings of cents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.domain.errors import BadRequest
from gateway.domain.instants import parse_rfc3339, rfc3339
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS
from gateway.reports.vendor_pages import Asked, Page, Vendor, merged

__all__ = ["COSTS", "USAGE", "cents", "costs", "usage"]

_NANO_PER_CENT: Final = 10_000_000
_CACHED: Final = ("cache_read", "audio_cache_read", "image_cache_read")
_TOKEN_TYPES: Final[Mapping[str, str]] = {
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    **dict.fromkeys(_CACHED, "cache_read_input_tokens"),
    **dict.fromkeys(OUTPUT_METERS, "output_tokens"),
}
_COST_TYPES: Final[Mapping[str, str]] = {"web_search": "web_search", "code_interpreter": "code_execution"}


def _instant(param: str, text: str) -> int:
    at_us = parse_rfc3339(text)
    if at_us is None or at_us < 0:
        raise BadRequest(
            "invalid_value",
            f"{text[:40]!a} is no time.",
            hint="Give RFC 3339, such as 2026-11-01T00:00:00Z.",
            param=param,
        )
    return at_us


USAGE: Final = Vendor(
    start="starting_at",
    end="ending_at",
    groups={
        "api_key_id": "key",
        "workspace_id": "account",
        "model": "model",
        "account_id": "end_user",
        "service_tier": None,
        "context_window": None,
        "inference_geo": None,
        "service_account_id": None,
    },
    filters={
        "api_key_ids": "key",
        "workspace_ids": "account",
        "models": "model",
        "account_ids": "end_user",
    },
    limits={"1d": (7, 31), "1h": (24, 168)},
    instant=_instant,
)
COSTS: Final = Vendor(
    start="starting_at",
    end="ending_at",
    groups={"workspace_id": "account", "description": "model"},
    filters={"workspace_ids": "account"},
    limits={"1d": (7, 31)},
    instant=_instant,
)
_NOT_GROUPED: Final = dict.fromkeys(USAGE.groups)


def usage(page: Page, asked: Asked) -> dict[str, Any]:
    """The answer of `/v1/organizations/usage_report/messages`."""
    return _page(page, lambda rows: [_used(names, meters) for names, meters in merged(rows, asked, USAGE)])


def _used(names: Mapping[str, str | None], meters: Mapping[str, list[int]]) -> dict[str, Any]:
    def total(*of: str) -> int:
        return sum(meters[meter][1] for meter in of if meter in meters)

    plain = [meter for meter in INPUT_METERS if meter not in _TOKEN_TYPES]
    return {
        "uncached_input_tokens": total(*plain),
        "cache_creation": {
            "ephemeral_1h_input_tokens": total("cache_write_1h"),
            "ephemeral_5m_input_tokens": total("cache_write_5m"),
        },
        "cache_read_input_tokens": total(*_CACHED),
        "output_tokens": total(*OUTPUT_METERS),
        "server_tool_use": {"web_search_requests": total("web_search")},
        **_NOT_GROUPED,
        **names,
    }


def costs(page: Page, asked: Asked) -> dict[str, Any]:
    """The answer of `/v1/organizations/cost_report`; a description is a model and a meter."""

    def results(rows: Any) -> list[dict[str, Any]]:
        found = []
        for names, meters in merged(rows, asked, COSTS):
            workspace = names.get("workspace_id")
            if "description" not in names:
                found.append(_cost(workspace, None, None, sum(amounts[2] for amounts in meters.values())))
                continue
            for meter, (_, _, cost) in sorted(meters.items()):
                found.append(_cost(workspace, names["description"], meter, cost))
        return found

    return _page(page, results)


def _cost(workspace: str | None, model: str | None, meter: str | None, nano: int) -> dict[str, Any]:
    is_token = meter in INPUT_METERS or meter in OUTPUT_METERS
    cost_type = "tokens" if is_token else _COST_TYPES.get(meter or "")
    return {
        "currency": "USD",
        "amount": cents(nano),
        "workspace_id": workspace,
        "description": None if meter is None else f"{model}, {meter}",
        "cost_type": cost_type,
        "context_window": None,
        "model": model,
        "service_tier": None,
        "token_type": _TOKEN_TYPES.get(meter or "", "uncached_input_tokens") if is_token else None,
        "inference_geo": None,
    }


def cents(nano: int) -> str:
    """Nano-USD as a decimal string of cents, exactly."""
    whole, rest = divmod(abs(nano), _NANO_PER_CENT)
    text = f"{whole}.{rest:07d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano < 0 else text


def _page(page: Page, results: Any) -> dict[str, Any]:
    return {
        "data": [
            {"starting_at": rfc3339(start), "ending_at": rfc3339(end), "results": results(rows)}
            for start, end, rows in page.buckets
        ],
        "has_more": page.next_page is not None,
        "next_page": page.next_page,
    }
