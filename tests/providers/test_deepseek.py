from __future__ import annotations

from gateway.providers.deepseek import PROVIDER


def test_an_unpaid_account_is_ours() -> None:
    body = (
        b'{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}'
    )
    assert PROVIDER.read_refusal(402, [], body).blame == "credential"


def test_address() -> None:
    assert PROVIDER.path("openai_chat", "/v1", "deepseek-chat") == "/v1/chat/completions"
