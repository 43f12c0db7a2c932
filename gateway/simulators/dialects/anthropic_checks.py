"""Reads a Messages request as strictly as Anthropic does, and says what it asks for.

Messages follow the recorded refusals; where none is recorded, the provider's published errors. Roles must
alternate here although the API by now joins neighbours: a translation that does not join them is seen.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Ask
from gateway.simulators.dialects.anthropic_asks import ask_of, blocks_of, is_result, texts_of
from gateway.simulators.dialects.anthropic_errors import anthropic_error, invalid
from gateway.simulators.models import Model, find_model

__all__ = ["read_ask", "read_document", "read_model"]

_KNOWN = """
    model messages max_tokens system stream temperature top_p top_k stop_sequences tools tool_choice
    thinking metadata service_tier cache_control output_config context_management container mcp_servers
    inference_geo speed fallbacks
"""
_FIELDS: Final = frozenset(_KNOWN.split())
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NO_PREFILL: Final = ("claude-opus-4-6", "claude-sonnet-5")
_EFFORTS: Final = ("high", "low", "max", "medium")
_BLOCKS: Final = frozenset(
    {
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
    }
)
_PICTURES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_NOBODY: Final[Mapping[str, Any]] = {"role": "nobody", "content": []}
_LEAST_THINKING: Final = 1_024
_THINKS: Final = 64


def read_document(body: bytes) -> dict[str, Any]:
    """The request body as a JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise invalid("Input should be a valid dictionary or object to extract fields from")
    return document


def read_model(document: Mapping[str, Any]) -> Model:
    """The model a request names."""
    name = document.get("model")
    if not isinstance(name, str):
        raise invalid("model: Field required" if name is None else "model: Input should be a valid string")
    model = find_model("anthropic", name)
    if model is None:
        raise anthropic_error(404, "not_found_error", f"model: {name}", retry=False)
    return model


def read_ask(document: Mapping[str, Any], model: Model, *, needs_cap: bool = True) -> Ask:
    """What a request asks for. Raises the refusal. Counting tokens needs no cap."""
    for name in document:
        if name not in _FIELDS:
            raise invalid(f"{name}: Extra inputs are not permitted")
    if needs_cap:
        _check_cap(document, model)
    _check_values(document)
    _check_messages(document.get("messages"), model)
    _check_tools(document)
    ask = ask_of(document, _thinking(document))
    if ask.input_tokens > model.context:
        raise invalid(f"prompt is too long: {ask.input_tokens} tokens > {model.context} maximum")
    return ask


def _check_cap(document: Mapping[str, Any], model: Model) -> None:
    cap = document.get("max_tokens")
    if cap is None:
        raise invalid("max_tokens: Field required")
    if not isinstance(cap, int) or isinstance(cap, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if cap < 0:
        raise invalid("max_tokens: must be greater than or equal to 0")
    if cap > model.max_output:
        raise invalid(
            f"max_tokens: {cap} > {model.max_output}, which is the maximum allowed number of output tokens "
            f"for {model.served}"
        )


def _check_values(document: Mapping[str, Any]) -> None:
    warmth = document.get("temperature")
    if warmth is not None and not (isinstance(warmth, (int, float)) and 0 <= warmth <= 1):
        raise invalid("temperature: range: 0..1")
    for stop in document.get("stop_sequences") or []:
        if not str(stop).strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    effort = (document.get("output_config") or {}).get("effort")
    if effort is not None and effort not in _EFFORTS:
        levels = ", ".join(_EFFORTS)
        raise invalid(f"This model does not support effort level '{effort}'. Supported levels: {levels}.")
    marked = json.dumps(document).count('"cache_control": {')
    if marked > 4:
        raise invalid(f"A maximum of 4 blocks with cache_control may be provided. Found {marked}.")


def _check_messages(messages: Any, model: Model) -> None:
    if messages is None:
        raise invalid("messages: Field required")
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_message(message, index, len(messages))
    _check_roles([message["role"] for message in messages])
    _check_pairing(messages)
    if messages[-1]["role"] == "assistant":
        _check_prefill(messages[-1], model)


def _check_message(message: Any, index: int, total: int) -> None:
    if not isinstance(message, dict) or message.get("role") is None:
        raise invalid(f"messages.{index}.role: Field required")
    if message["role"] == "system":
        raise invalid(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, '
            'not "system" as an input message role.'
        )
    if message["role"] not in ("user", "assistant"):
        raise invalid(
            f'messages: Unexpected role "{message["role"]}". Allowed roles are "user" or "assistant"'
        )
    content = message.get("content")
    if not isinstance(content, (str, list)):
        raise invalid(f"messages.{index}.content: Field required")
    if not content and not (message["role"] == "assistant" and index == total - 1):
        raise invalid(
            f"messages.{index}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    for place, block in enumerate(blocks_of(message)):
        _check_block(block, f"messages.{index}.content.{place}")


def _check_block(block: Any, where: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in _BLOCKS and not str(kind).endswith("_tool_result"):
        tags = ", ".join(f"'{name}'" for name in sorted(_BLOCKS))
        raise invalid(f"{where}: Input tag '{kind}' found using 'type' does not match any of: {tags}")
    if kind == "text" and not block.get("text"):
        raise invalid("messages: text content blocks must be non-empty")
    _check_members(str(kind), block, where)
    identifier = block.get({"tool_use": "id", "tool_result": "tool_use_id"}.get(str(kind), ""), "x")
    if not _ID.fullmatch(str(identifier)):
        raise invalid(f"{where}.{kind}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")


def _check_members(kind: str, block: Mapping[str, Any], where: str) -> None:
    """What a block of its kind must have: a thought its signature, a call an object, a picture a kind."""
    if kind == "thinking" and not isinstance(block.get("signature"), str):
        raise invalid(f"{where}.thinking.signature: Field required")
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        raise invalid(f"{where}.tool_use.input: Input should be a valid dictionary")
    source = block.get("source") or {}
    if kind == "image" and source.get("type") == "base64" and source.get("media_type") not in _PICTURES:
        kinds = ", ".join(f"'{each}'" for each in _PICTURES[:-1])
        raise invalid(f"{where}.image.source.base64.media_type: Input should be {kinds} or '{_PICTURES[-1]}'")


def _check_thoughts(messages: Sequence[Mapping[str, Any]]) -> None:
    """With a budget to think with, a turn that goes on after its tools begins with what was thought."""
    if not any(is_result(block) for block in blocks_of(messages[-1])) or len(messages) < 2:
        return
    first = str(blocks_of(messages[-2])[0].get("type"))
    if first not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
            f"found `{first}`. When `thinking` is enabled, a final `assistant` message must start with a "
            "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _check_roles(roles: Sequence[str]) -> None:
    if roles[0] != "user":
        raise invalid('messages: first message must use the "user" role')
    for before, after in itertools.pairwise(roles):
        if before == after:
            raise invalid(
                'messages: roles must alternate between "user" and "assistant", but found multiple '
                f'"{after}" roles in a row'
            )


def _check_pairing(messages: Sequence[Mapping[str, Any]]) -> None:
    """The calls of one message have their results, all of them, at the head of the next."""
    called: list[str] = []
    for index, message in enumerate([*messages, _NOBODY]):
        blocks = blocks_of(message)
        missing = [one for one in called if one not in _results(itertools.takewhile(is_result, blocks))]
        if missing:
            raise invalid(
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` "
                "block in the next message."
            )
        strange = [one for one in _results(filter(is_result, blocks)) if one not in called]
        if strange:
            raise invalid(
                f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(strange)}. Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
        called = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]


def _results(blocks: Iterable[Mapping[str, Any]]) -> list[str]:
    return [str(block.get("tool_use_id")) for block in blocks]


def _check_prefill(message: Mapping[str, Any], model: Model) -> None:
    if model.name in _NO_PREFILL:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user "
            "message."
        )
    texts = texts_of(message)
    if texts and texts[-1] != texts[-1].rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")


def _check_tools(document: Mapping[str, Any]) -> None:
    for index, tool in enumerate(document.get("tools") or []):
        if tool.get("type") not in (None, "custom"):
            continue
        where = f"tools.{index}.custom"
        if not _TOOL_NAME.fullmatch(str(tool.get("name", ""))):
            raise invalid(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise invalid(f"{where}.input_schema: Field required")
        if schema.get("type") != "object":
            raise invalid(f"{where}.input_schema.type: Input should be 'object'")
    if document.get("tool_choice") and not document.get("tools"):
        raise invalid("tool_choice: may only be specified while providing tools")


def _thinking(document: Mapping[str, Any]) -> int:
    """How many tokens the model thinks; raises the refusal of thinking that cannot be."""
    asked = document.get("thinking") or {"type": "disabled"}
    if asked.get("type") == "adaptive":
        return _THINKS
    if asked.get("type") != "enabled":
        return 0
    budget = asked.get("budget_tokens", 0)
    if budget < _LEAST_THINKING:
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if "max_tokens" in document and document["max_tokens"] <= budget:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if document.get("temperature") not in (None, 1):
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if (document.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    _check_thoughts(document["messages"])
    return _THINKS
