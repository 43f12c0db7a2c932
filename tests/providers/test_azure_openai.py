from __future__ import annotations

import pytest

from gateway.domain.errors import BadRequest
from gateway.providers.azure_openai import PROVIDER


@pytest.mark.parametrize(
    ("base_path", "api_version", "expected"),
    [
        ("/openai/v1", None, "/openai/v1/chat/completions"),
        ("/openai/v1", "preview", "/openai/v1/chat/completions?api-version=preview"),
        ("", "2024-10-21", "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"),
        ("/openai", "2024-10-21", "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"),
        (
            "/openai/deployments/fixed",
            "2024-10-21",
            "/openai/deployments/fixed/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_both_generations_of_addresses(base_path: str, api_version: str | None, expected: str) -> None:
    assert PROVIDER.path("openai_chat", base_path, "my gpt", api_version) == expected


@pytest.mark.parametrize(
    ("base_path", "expected"),
    [
        ("/openai/v1", "/openai/v1/responses?api-version=preview"),
        ("", "/openai/responses?api-version=preview"),
        ("/openai", "/openai/responses?api-version=preview"),
    ],
)
def test_responses_name_their_deployment_in_the_body(base_path: str, expected: str) -> None:
    assert PROVIDER.path("openai_responses", base_path, "my gpt", "preview") == expected


def test_the_older_addresses_need_a_version() -> None:
    with pytest.raises(BadRequest, match="api_version"):
        PROVIDER.path("openai_chat", "", "gpt", None)


def test_a_spent_quota_is_read_as_openais() -> None:
    body = b'{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"x"}}'
    assert PROVIDER.read_refusal(429, [], body).blame == "credential"
