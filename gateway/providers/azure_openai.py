"""Azure OpenAI: OpenAI's formats at a resource of one's own, in two generations of addresses.

The v1 addresses (base URL `https://RESOURCE.openai.azure.com/openai/v1`) take the deployment as the model
in the body and need no version. The older ones (`https://RESOURCE.openai.azure.com` or `.../openai`) have
the deployment in the path and a dated `api-version`; of these, Responses alone has it in the body.
https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

from typing import Final

from gateway.domain.errors import BadRequest
from gateway.providers.base import Provider, api_key_header, join_path
from gateway.providers.openai import read_refusal

__all__ = ["PROVIDER"]

_RESPONSES: Final = "/responses"


def _locate(base_path: str, template: str, model: str, api_version: str | None) -> str:
    if base_path.endswith("/v1"):
        return join_path(base_path, template, model, api_version)
    if not api_version:
        raise BadRequest(
            "invalid_value",
            "Azure OpenAI needs an api_version at this base URL.",
            hint="Let base_url end in /openai/v1, or set api_version, for example 2024-10-21.",
        )
    if "/deployments/" in base_path:
        return join_path(base_path, template, model, api_version)
    root = base_path if base_path.endswith("/openai") else base_path + "/openai"
    deployment = "" if template == _RESPONSES else "/deployments/{model}"
    return join_path(root, deployment + template, model, api_version)


PROVIDER: Final = Provider(
    name="azure_openai",
    title="Azure OpenAI",
    base_url="",
    credential_env="AZURE_OPENAI_API_KEY",
    price_providers=("azure", "openai"),
    paths={
        "openai_chat": "/chat/completions",
        "openai_completions": "/completions",
        "openai_embeddings": "/embeddings",
        "openai_responses": _RESPONSES,
    },
    authorize=api_key_header(b"api-key"),
    on_abort="drain",
    locate=_locate,
    read_refusal=read_refusal,
)
