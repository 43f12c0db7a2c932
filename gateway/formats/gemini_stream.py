"""Gemini's streamGenerateContent as server-sent events: `?alt=sse`, which every SDK asks for."""

from __future__ import annotations

from typing import Final

from gateway.formats.gemini_generate import GenerateContent
from gateway.formats.gemini_paths import SSE

__all__ = ["FORMAT"]

FORMAT: Final = GenerateContent("gemini_stream", "streamGenerateContent", SSE, stream=True)
