"""DeepSeek (https://api-docs.deepseek.com): OpenAI's chat format, no rate-limit headers, 402 when unpaid."""

from __future__ import annotations

from typing import Final

from gateway.providers.base import Provider, bearer

__all__ = ["PROVIDER"]

PROVIDER: Final = Provider(
    name="deepseek",
    title="DeepSeek",
    base_url="https://api.deepseek.com/v1",
    credential_env="DEEPSEEK_API_KEY",
    price_providers=("deepseek",),
    paths={"openai_chat": "/chat/completions", "openai_responses": "/responses"},
    authorize=bearer,
    # Its reasoning is streamed, so what was relayed can be counted, and a reply may run to 384K tokens
    # that nobody reads any more.
    on_abort="stop",
)
