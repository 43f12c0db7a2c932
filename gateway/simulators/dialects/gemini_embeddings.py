"""Gemini: embeddings. The first embedding models report no usage at all; the bill is kept all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Ask
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.gemini_checks import contents_tokens, last_text, read_document
from gateway.simulators.dialects.gemini_errors import invalid, no_model, told_status
from gateway.simulators.dialects.openai_embeddings import vector
from gateway.simulators.events import Body
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import readable
from gateway.simulators.models import find_model
from gateway.simulators.reports import reported

__all__ = ["embed"]

_USUAL: Final = 3_072
_SILENT: Final = "gemini-embedding-001"


def embed(request: Request, call: Call, name: str, verb: str) -> Body:
    """``embedContent`` of one content, ``batchEmbedContents`` of several."""
    model = find_model("gemini", name)
    if model is None or model.kind != "embedding":
        raise no_model(name, verb)
    document = read_document(request.body)
    asked = document.get("requests") if verb == "batchEmbedContents" else [document]
    if not isinstance(asked, list) or not asked:
        raise invalid("* BatchEmbedContentsRequest.requests: must not be empty\n")
    contents = [_content(one) for one in asked]
    ask = Ask(model=name, prompt=last_text(contents), input_tokens=contents_tokens(contents), cap=0)
    accept(call, ask, model.served, told_status)
    vectors = [{"values": _values(one, content)} for one, content in zip(asked, contents, strict=True)]
    answer = {"embeddings": vectors} if verb == "batchEmbedContents" else {"embedding": vectors[0]}
    return Body(readable(answer | _usage(call)), content_type=b"application/json; charset=UTF-8")


def _content(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    content = asked.get("content")
    if not isinstance(content, dict) or not content.get("parts"):
        raise invalid("* EmbedContentRequest.content: contents is not specified\n")
    return content


def _values(asked: Mapping[str, Any], content: Mapping[str, Any]) -> Sequence[float]:
    values: Sequence[float] = vector(
        json.dumps(content), min(int(asked.get("outputDimensionality") or _USUAL), _USUAL)
    )
    return values


def _usage(call: Call) -> dict[str, Any]:
    if call.billed.served_model == _SILENT or call.behaviour.usage is UsageReport.NONE:
        return {}
    tokens = call.billed.input_total
    # "promptTokenDetails", unlike generateContent's "promptTokensDetails" (recorded).
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    usage = {"promptTokenCount": tokens, "promptTokenDetails": details}
    call.billed.reported = reported(usage, call.behaviour.usage)
    return {"usageMetadata": call.billed.reported}
