"""Gemini's streamGenerateContent as one JSON array that grows: what it is without `alt=sse`.

It comes as `application/json`, like a reply that is not streamed; an error after it has begun is its last
element.
"""

from __future__ import annotations

from typing import Final

from gateway.formats.gemini_generate import GenerateContent

__all__ = ["FORMAT"]

FORMAT: Final = GenerateContent("gemini_stream_array", "streamGenerateContent", stream=True)
