"""Any server that speaks OpenAI's formats (vLLM, Ollama, OpenRouter, Together ...), by configuration alone.

This provider is a pattern: the configuration names it (`dataclasses.replace`), says where it is, and which
prices are its own.
"""

from __future__ import annotations

from typing import Final

from gateway.providers.base import Provider, bearer
from gateway.providers.openai import read_refusal

__all__ = ["PROVIDER"]

PROVIDER: Final = Provider(
    name="openai_compatible",
    title="OpenAI-compatible",
    base_url="",
    credential_env="",
    price_providers=(),
    paths={
        "openai_chat": "/chat/completions",
        "openai_completions": "/completions",
        "openai_embeddings": "/embeddings",
        "openai_responses": "/responses",
    },
    authorize=bearer,
    # Nothing is known of its bill; a machine of one's own is free for the next call at once.
    on_abort="stop",
    read_refusal=read_refusal,
)
