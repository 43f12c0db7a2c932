"""OpenAI: embeddings, whose numbers mean nothing but are always the same for the same text."""

from __future__ import annotations

import base64
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Ask
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects import azure
from gateway.simulators.dialects.chat_checks import expect, find_openai_model, read_document
from gateway.simulators.dialects.openai_chat import answer_headers, check_key
from gateway.simulators.dialects.openai_errors import invalid, told_status
from gateway.simulators.events import Body
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import readable
from gateway.simulators.models import Model
from gateway.simulators.reports import reported
from gateway.simulators.tokens import count
from gateway.simulators.wire import Headers

__all__ = ["azure_embeddings", "embeddings", "vector"]

_DIMENSIONS: Final = {"text-embedding-3-large": 3_072}
_USUAL: Final = 1_536
_MOST: Final = 3_072


def embeddings(request: Request, call: Call) -> Body:
    """``POST /v1/embeddings``."""
    check_key(request, call)
    document = read_document(request.body)
    model = find_openai_model(document, "embedding")
    inputs = _inputs(document, model)
    accept(call, _ask(document, inputs), model.served, told_status)
    return _body(document, call, model, inputs, answer_headers(call))


def azure_embeddings(request: Request, call: Call) -> Body:
    """``POST /openai/deployments/{deployment}/embeddings``."""
    azure.check_access(request, call)
    model = azure.deployed_model(request, call, "embedding")
    document = read_document(request.body) | {"model": request.params["deployment"]}
    inputs = _inputs(document, model)
    accept(call, _ask(document, inputs), model.served, azure.told_azure_status)
    return _body(document, call, model, inputs, azure.answer_headers(call))


def _inputs(document: Mapping[str, Any], model: Model) -> list[Any]:
    """Each input as text or as a list of tokens."""
    given = document.get("input")
    if given is None:
        raise invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    expect(given, (str, list), "input", "one of a string or array")
    inputs = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
    if not inputs or "" in inputs:
        raise invalid("Invalid 'input': expected at least one non-empty string.", "input")
    for one in inputs:
        if _tokens(one) > model.context:
            raise invalid(
                f"This model's maximum context length is {model.context} tokens, however you requested "
                f"{_tokens(one)} tokens ({_tokens(one)} in your prompt; 0 for the completion). Please "
                "reduce your prompt; or completion length.",
                None,
            )
    _check_form(document)
    return inputs


def _check_form(document: Mapping[str, Any]) -> None:
    dimensions = document.get("dimensions")
    if dimensions is not None and dimensions < 1:
        raise invalid(f"{dimensions} is less than the minimum of 1 - 'dimensions'", None)
    if dimensions is not None and dimensions > _MOST:
        raise invalid(f"{dimensions} is greater than the maximum of {_MOST} - 'dimensions'", None)
    if document.get("encoding_format") not in (None, "float", "base64"):
        raise invalid(
            f"'{document['encoding_format']}' is not one of ['float', 'base64'] - 'encoding_format'", None
        )


def _tokens(one: Any) -> int:
    return count(one) if isinstance(one, str) else len(one)


def _ask(document: Mapping[str, Any], inputs: Sequence[Any]) -> Ask:
    last = next((one for one in reversed(inputs) if isinstance(one, str)), "")
    total = sum(_tokens(one) for one in inputs)
    return Ask(model=document["model"], prompt=last, input_tokens=total, cap=0)


def _body(
    document: Mapping[str, Any], call: Call, model: Model, inputs: Sequence[Any], headers: Headers
) -> Body:
    length = document.get("dimensions") or _DIMENSIONS.get(model.name, _USUAL)
    as_base64 = document.get("encoding_format") == "base64"
    answer: dict[str, Any] = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector(repr(one), length, as_base64=as_base64),
            }
            for index, one in enumerate(inputs)
        ],
        "model": call.billed.served_model,
    }
    if call.behaviour.usage is not UsageReport.NONE:
        usage = {"prompt_tokens": call.billed.input_total, "total_tokens": call.billed.input_total}
        answer["usage"] = call.billed.reported = reported(usage, call.behaviour.usage)
    return Body(readable(answer), headers=headers)


def vector(text: str, length: int, *, as_base64: bool = False) -> Any:
    """A vector for a text: numbers, or little-endian 32-bit floats in base64."""
    state = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    values = array("f")
    for _ in range(length):
        state = (state * 1_664_525 + 1_013_904_223) & 0xFFFF_FFFF
        values.append(state / 0x8000_0000 - 1)
    return base64.b64encode(values.tobytes()).decode() if as_base64 else values.tolist()
