"""Usage and costs as OpenAI's organization API reports them, so that its clients read ours by base URL.

Shapes: openai-python `types/admin/organization/usage_completions_response.py` and `usage_costs_response.py`.
A project is an account, an API key a virtual key, a user an end user. Money is a float of USD here, and only
here: that is what the shape has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.domain.errors import BadRequest
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS
from gateway.reports.vendor_pages import Asked, Page, Vendor, merged

__all__ = ["COSTS", "USAGE", "costs", "usage"]

_SECONDS: Final = re.compile(r"\d{1,11}", re.ASCII)


def _instant(param: str, text: str) -> int:
    """Microseconds of Unix seconds."""
    if not _SECONDS.fullmatch(text):
        raise BadRequest(
            "invalid_value", f"{text[:32]!a} is no time.", hint="Give Unix seconds.", param=param
        )
    return int(text) * 1_000_000


USAGE: Final = Vendor(
    start="start_time",
    end="end_time",
    groups={
        "project_id": "account",
        "user_id": "end_user",
        "api_key_id": "key",
        "model": "model",
        "batch": None,
        "service_tier": None,
        "api_source": None,
    },
    filters={"project_ids": "account", "user_ids": "end_user", "api_key_ids": "key", "models": "model"},
    limits={"1d": (7, 31), "1h": (24, 168)},
    instant=_instant,
)
COSTS: Final = Vendor(
    start="start_time",
    end="end_time",
    groups={"project_id": "account", "api_key_id": "key", "line_item": "model"},
    filters={"project_ids": "account", "api_key_ids": "key"},
    limits={"1d": (7, 180)},
    instant=_instant,
)
_NOT_GROUPED: Final = dict.fromkeys(USAGE.groups)


def usage(page: Page, asked: Asked) -> dict[str, Any]:
    """The answer of `/v1/organization/usage/completions`."""
    return _page(page, lambda rows: [_used(names, meters) for names, meters in merged(rows, asked, USAGE)])


def _used(names: Mapping[str, str | None], meters: Mapping[str, list[int]]) -> dict[str, Any]:
    def total(*of: str) -> int:
        return sum(meters[meter][1] for meter in of if meter in meters)

    written = total("cache_write_5m", "cache_write_1h")
    cached = total("cache_read", "audio_cache_read", "image_cache_read")
    entered = total(*INPUT_METERS)
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": entered,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": written,
        "input_uncached_tokens": entered - cached - written,
        "output_tokens": total(*OUTPUT_METERS),
        "input_text_tokens": total("input", "cache_read", "cache_write_5m", "cache_write_1h"),
        "output_text_tokens": total("output", "reasoning"),
        "input_cached_text_tokens": total("cache_read"),
        "input_audio_tokens": total("audio_input", "audio_cache_read"),
        "input_cached_audio_tokens": total("audio_cache_read"),
        "output_audio_tokens": total("audio_output"),
        "input_image_tokens": total("image_input", "image_cache_read"),
        "input_cached_image_tokens": total("image_cache_read"),
        "output_image_tokens": total("image_output"),
        "num_model_requests": total("requests"),
        **_NOT_GROUPED,
        **names,
    }


def costs(page: Page, asked: Asked) -> dict[str, Any]:
    """The answer of `/v1/organization/costs`; a line item is a model and a meter."""

    def results(rows: Any) -> list[dict[str, Any]]:
        found = []
        for names, meters in merged(rows, asked, COSTS):
            if "line_item" not in names:
                found.append(_cost(names, sum(amounts[2] for amounts in meters.values()), None))
                continue
            for meter, (_, quantity, cost) in sorted(meters.items()):
                item = {**names, "line_item": f"{names['line_item']}, {meter}"}
                found.append(_cost(item, cost, quantity))
        return found

    return _page(page, results)


def _cost(names: Mapping[str, str | None], nano: int, quantity: int | None) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": nano / 1_000_000_000, "currency": "usd"},
        "line_item": None,
        "project_id": None,
        "api_key_id": None,
        "quantity": quantity,
        **names,
    }


def _page(page: Page, results: Any) -> dict[str, Any]:
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": start // 1_000_000,
                "end_time": end // 1_000_000,
                "results": results(rows),
            }
            for start, end, rows in page.buckets
        ],
        "has_more": page.next_page is not None,
        "next_page": page.next_page,
    }
