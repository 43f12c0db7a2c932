"""Which models exist at each simulated provider, what they are served as, and what they accept."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from gateway.simulators.behaviour import split_knobs

__all__ = ["Model", "find_model", "listed_models"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its provider knows it. `served` is the name in answers; limits are tokens."""

    name: str
    served: str
    context: int
    max_output: int
    reasons: bool = False
    kind: str = "chat"  # chat, embedding or completion


_KNOWN: Final[dict[str, tuple[Model, ...]]] = {
    "openai": (
        Model("gpt-4o", "gpt-4o-2024-08-06", 128_000, 16_384),
        Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", 128_000, 16_384),
        Model("gpt-4.1", "gpt-4.1-2025-04-14", 1_047_576, 32_768),
        Model("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", 1_047_576, 32_768),
        Model("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", 1_047_576, 32_768),
        Model("gpt-4-turbo", "gpt-4-turbo-2024-04-09", 128_000, 4_096),
        Model("gpt-4", "gpt-4-0613", 8_192, 8_192),
        Model("gpt-3.5-turbo", "gpt-3.5-turbo-0125", 16_385, 4_096),
        Model("gpt-5", "gpt-5-2025-08-07", 400_000, 128_000, reasons=True),
        Model("gpt-5-mini", "gpt-5-mini-2025-08-07", 400_000, 128_000, reasons=True),
        Model("gpt-5-nano", "gpt-5-nano-2025-08-07", 400_000, 128_000, reasons=True),
        Model("gpt-5.1", "gpt-5.1-2025-11-13", 400_000, 128_000, reasons=True),
        Model("gpt-5.6", "gpt-5.6", 1_050_000, 128_000, reasons=True),
        Model("o1", "o1-2024-12-17", 200_000, 100_000, reasons=True),
        Model("o3", "o3-2025-04-16", 200_000, 100_000, reasons=True),
        Model("o3-mini", "o3-mini-2025-01-31", 200_000, 100_000, reasons=True),
        Model("o4-mini", "o4-mini-2025-04-16", 200_000, 100_000, reasons=True),
        Model("mock", "mock", 128_000, 1_000_000),
        Model(
            "gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct:20230824-v2", 4_096, 4_096, kind="completion"
        ),
        Model("text-embedding-3-small", "text-embedding-3-small", 8_192, 0, kind="embedding"),
        Model("text-embedding-3-large", "text-embedding-3-large", 8_192, 0, kind="embedding"),
        Model("text-embedding-ada-002", "text-embedding-ada-002-v2", 8_192, 0, kind="embedding"),
    ),
    "deepseek": (
        Model("deepseek-chat", "deepseek-v4-flash", 1_048_565, 393_216),
        Model("deepseek-reasoner", "deepseek-v4-flash", 1_048_565, 393_216, reasons=True),
        Model("deepseek-v4-flash", "deepseek-v4-flash", 1_048_565, 393_216, reasons=True),
        Model("deepseek-v4-pro", "deepseek-v4-pro", 1_048_565, 393_216, reasons=True),
        # The seed prices name it; the provider served it before V4.
        Model("deepseek-v3.2", "deepseek-v3.2", 131_072, 65_536),
    ),
    "anthropic": (
        Model("claude-haiku-4-5", "claude-haiku-4-5-20251001", 200_000, 64_000),
        Model("claude-3-5-haiku", "claude-3-5-haiku-20241022", 200_000, 8_192),
        Model("claude-3-opus", "claude-3-opus-20240229", 200_000, 4_096),
        Model("claude-sonnet-4", "claude-sonnet-4-20250514", 200_000, 64_000),
        Model("claude-sonnet-4-0", "claude-sonnet-4-20250514", 200_000, 64_000),
        Model("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", 200_000, 64_000),
        Model("claude-opus-4-1", "claude-opus-4-1-20250805", 200_000, 32_000),
        Model("claude-opus-4-5", "claude-opus-4-5-20251101", 200_000, 64_000),
        Model("claude-opus-4-6", "claude-opus-4-6", 200_000, 128_000),
        Model("claude-sonnet-4-6", "claude-sonnet-4-6", 200_000, 64_000),
        Model("claude-sonnet-5", "claude-sonnet-5", 1_000_000, 128_000),
    ),
    "gemini": (
        Model("gemini-2.0-flash", "gemini-2.0-flash", 1_048_576, 8_192),
        Model("gemini-2.5-flash", "gemini-2.5-flash", 1_048_576, 65_536, reasons=True),
        Model("gemini-2.5-flash-lite", "gemini-2.5-flash-lite", 1_048_576, 65_536),
        Model("gemini-2.5-pro", "gemini-2.5-pro", 1_048_576, 65_536, reasons=True),
        Model("gemini-3-flash-preview", "gemini-3-flash-preview", 1_048_576, 65_536, reasons=True),
        Model("gemini-3-pro-preview", "gemini-3-pro-preview", 1_048_576, 65_536, reasons=True),
        Model("gemini-embedding-001", "gemini-embedding-001", 2_048, 0, kind="embedding"),
        Model("gemini-embedding-2", "gemini-embedding-2", 8_192, 0, kind="embedding"),
    ),
}
_FAMILIES: Final = {
    "openai": re.compile(r"(gpt-(\d|audio)|o\d|chatgpt-|codex-).*"),
    "deepseek": re.compile(r"deepseek-(v|r)\d.*"),
    "anthropic": re.compile(r"claude-(\d|opus-|sonnet-|haiku-).*"),
    "gemini": re.compile(r"gemini-\d.*"),
}
_REASONING: Final = re.compile(r"gpt-[5-9]|o\d|deepseek-v[4-9]|gemini-(2\.5-pro|[3-9])")
# A dated snapshot is served under its own name: -2024-08-06, -20251001, -0613.
_SNAPSHOT: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


def find_model(provider: str, name: str) -> Model | None:
    """The model behind a requested name, which may be an alias, a dated snapshot or carry knobs.

    A name of one of the provider's families is a model too, so that tests need not wait for this list.
    """
    base, _ = split_knobs(name)
    known = {model.name: model for model in _KNOWN[provider]}
    if base in known:
        return known[base]
    dated = known.get(_SNAPSHOT.sub("", base).removesuffix("-latest"))
    if dated is not None:
        return replace(dated, served=dated.served if base.endswith("-latest") else base)
    family = _FAMILIES[provider].fullmatch(base)
    if family is None:
        return None
    reasons = _REASONING.match(base) is not None
    return Model(base, base, 1_000_000, 128_000, reasons)


def listed_models(provider: str) -> list[str]:
    """Every name that a list of models shows."""
    return [model.name for model in _KNOWN[provider]]
