from __future__ import annotations

from dataclasses import replace

from gateway.providers.openai_compatible import PROVIDER


def test_a_configured_provider_is_the_pattern_under_another_name() -> None:
    vllm = replace(PROVIDER, name="vllm", title="Our vLLM", price_providers=("openai",))
    assert vllm.path("openai_chat", "/v1", "llama") == "/v1/chat/completions"
