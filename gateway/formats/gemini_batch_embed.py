"""Gemini's batchEmbedContents (https://ai.google.dev/api/embeddings): what SDKs send for one content too."""

from __future__ import annotations

from typing import Final

from gateway.formats.gemini_embed import EmbedContent
from gateway.formats.gemini_request import read_batch_embed

__all__ = ["FORMAT"]

FORMAT: Final = EmbedContent("gemini_batch_embed", "batchEmbedContents", read_batch_embed)
