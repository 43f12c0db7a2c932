"""The one application: every provider under its own path prefix, and the control interface beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from gateway.simulators.control import control_routes
from gateway.simulators.dialects import (
    anthropic,
    anthropic_errors,
    azure,
    deepseek,
    gemini,
    gemini_errors,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_errors,
    openai_responses,
)
from gateway.simulators.exchange import Dialect, Exchange, Rejection
from gateway.simulators.stage import Stage

__all__ = ["PREFIXES", "build_app"]

# Where each provider's SDK is pointed at, after the server's address.
PREFIXES: Final = {
    "openai": "/openai/v1",
    "deepseek": "/deepseek/v1",
    "azure": "/azure",
    "anthropic": "/anthropic",
    "gemini": "/gemini",
}
_PATHS: Final[Sequence[tuple[str, str, str, Dialect]]] = (
    ("openai", "POST", "/openai/v1/chat/completions", openai_chat.chat),
    ("openai", "POST", "/openai/v1/embeddings", openai_embeddings.embeddings),
    ("openai", "POST", "/openai/v1/completions", openai_completions.completions),
    ("openai", "GET", "/openai/v1/models", openai_chat.list_models),
    ("openai", "GET", "/openai/v1/models/{model}", openai_chat.show_model),
    ("deepseek", "POST", "/deepseek/v1/chat/completions", deepseek.chat),
    ("deepseek", "POST", "/deepseek/chat/completions", deepseek.chat),
    ("deepseek", "POST", "/deepseek/beta/chat/completions", deepseek.chat),
    ("deepseek", "GET", "/deepseek/v1/models", deepseek.list_models),
    ("azure", "POST", "/azure/openai/deployments/{deployment}/chat/completions", azure.chat),
    (
        "azure",
        "POST",
        "/azure/openai/deployments/{deployment}/embeddings",
        openai_embeddings.azure_embeddings,
    ),
    ("anthropic", "POST", "/anthropic/v1/messages", anthropic.messages),
    ("anthropic", "POST", "/anthropic/v1/messages/count_tokens", anthropic.count_tokens),
    # The official SDK asks for v1 of late, everybody else for v1beta.
    ("gemini", "POST", "/gemini/v1beta/models/{action}", gemini.act),
    ("gemini", "POST", "/gemini/v1/models/{action}", gemini.act),
)

_REFUSALS: Final[Mapping[str, Callable[[str], Rejection]]] = {
    "openai": openai_errors.malformed,
    "azure": openai_errors.malformed,
    "deepseek": deepseek.malformed,
    "anthropic": anthropic_errors.invalid,
    "gemini": gemini_errors.invalid,
}


def build_app(stage: Stage) -> Starlette:
    """The application of one server, whose calls share one stage."""
    shelf = openai_responses.Shelf()
    stored: Sequence[tuple[str, str, str, Dialect]] = (
        ("openai", "POST", "/openai/v1/responses", shelf.create),
        ("openai", "POST", "/openai/v1/responses/input_tokens", shelf.count),
        ("openai", "GET", "/openai/v1/responses/{id}", shelf.show),
        ("openai", "DELETE", "/openai/v1/responses/{id}", shelf.delete),
        ("openai", "POST", "/openai/v1/responses/{id}/cancel", shelf.cancel),
        ("openai", "GET", "/openai/v1/responses/{id}/input_items", shelf.items),
    )
    routes: list[BaseRoute] = [
        Route(path, Exchange(stage, provider, dialect, _REFUSALS[provider]), methods=[method])
        for provider, method, path, dialect in (*_PATHS, *stored)
    ]
    return Starlette(routes=[*routes, *control_routes(stage)])
