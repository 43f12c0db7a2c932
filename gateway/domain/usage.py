"""Usage: what a call consumed, in disjoint meters.

A meter is one countable unit. The meters never overlap: a format that reads a provider's report
subtracts what the provider counts twice (cached tokens inside prompt tokens, reasoning inside
completion tokens), so that every unit is in exactly one meter and priced exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = [
    "INPUT_METERS",
    "METERS",
    "OUTPUT_METERS",
    "UNIT_OF",
    "Usage",
    "UsageSource",
    "input_total",
    "output_total",
]

# Where the figures came from: the provider's report, our own count, or a report completed by a count.
UsageSource = Literal["provider", "counted", "mixed"]

# A usage is a plain mapping from meter to quantity; an absent meter was not consumed. Zero is not stored.
Usage = Mapping[str, int]

INPUT_METERS: Final = (
    "input",  # uncached text tokens, and whatever the provider does not break down
    "cache_read",
    "cache_write_5m",  # also every cache write whose lifetime the provider does not name
    "cache_write_1h",
    "audio_input",
    "audio_cache_read",
    "image_input",
    "image_cache_read",
    "video_input",
)
OUTPUT_METERS: Final = (
    "output",  # without reasoning
    "reasoning",  # priced as output unless it has a price of its own
    "audio_output",
    "image_output",
    "video_output",
)
FEE_METERS: Final = ("web_search", "web_fetch", "file_search", "code_interpreter", "image_generation")
METERS: Final = (*INPUT_METERS, *OUTPUT_METERS, *FEE_METERS, "requests")

_INPUTS: Final = frozenset(INPUT_METERS)
_OUTPUTS: Final = frozenset(OUTPUT_METERS)

UNIT_OF: Final[dict[str, str]] = {
    **dict.fromkeys((*INPUT_METERS, *OUTPUT_METERS), "tokens"),
    **dict.fromkeys(FEE_METERS, "uses"),
    "requests": "requests",
}


def input_total(usage: Usage) -> int:
    """Tokens that went in, cached or not: what context tiers are decided by."""
    return _total(usage, _INPUTS)


def output_total(usage: Usage) -> int:
    """Tokens that came out, reasoning included: what an output cap bounds."""
    return _total(usage, _OUTPUTS)


def _total(usage: Usage, meters: frozenset[str]) -> int:
    # A usage has two to four meters of some twenty: going by the usage is four times as fast.
    total = 0
    for meter, quantity in usage.items():
        if meter in meters:
            total += quantity
    return total
