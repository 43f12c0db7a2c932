"""OpenAI: the completions that came before chat. Each prompt of a list is answered, each ``n`` times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.simulators.answers import Answer, Ask
from gateway.simulators.behaviour import UsageReport
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_checks import check_range, expect, find_openai_model, read_document
from gateway.simulators.dialects.chat_habits import FAILURE
from gateway.simulators.dialects.openai_chat import answer_headers, check_key
from gateway.simulators.dialects.openai_errors import invalid, told_status
from gateway.simulators.events import Body, Event, SseFraming, Stream
from gateway.simulators.exchange import Request, accept
from gateway.simulators.json_bytes import compact, readable
from gateway.simulators.reports import reported
from gateway.simulators.tokens import count

__all__ = ["completions"]

_DONE: Final = Event(b"[DONE]")
_USUAL_CAP: Final = 16


def completions(request: Request, call: Call) -> Body | Stream:
    """``POST /v1/completions``."""
    check_key(request, call)
    document = read_document(request.body)
    model = find_openai_model(document, "completion")
    check_range(document, "max_tokens", 0, model.max_output, "integer")
    check_range(document, "n", 1, 128, "integer")
    if document.get("stream_options") is not None and not document.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise invalid(message, "stream_options")
    answers = accept(call, _ask(document), model.served, told_status)
    call.billed.response_id = f"cmpl-sim{call.billed.id:024x}"
    call.billed.stream = bool(document.get("stream"))
    headers = answer_headers(call)
    if call.billed.stream:
        framing = SseFraming(crlf=call.behaviour.crlf)
        failure = framing.frame(Event(compact(FAILURE))) + framing.frame(_DONE)
        return Stream(_events(document, call, answers), framing, lambda: failure, headers, _DONE)
    return Body(
        readable(_whole(call, answers)),
        headers=headers,
        output=sum(answer.output for answer in answers),
    )


def _ask(document: Mapping[str, Any]) -> Ask:
    given = document.get("prompt", "")
    expect(given, (str, list), "prompt", "one of a string or array")
    prompts = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else list(given)
    cap = document.get("max_tokens")
    return Ask(
        model=document["model"],
        prompt=next((one for one in reversed(prompts) if isinstance(one, str)), ""),
        input_tokens=sum(count(one) if isinstance(one, str) else len(one) for one in prompts),
        cap=_USUAL_CAP if cap is None else cap,
        choices=(document.get("n") or 1) * max(len(prompts), 1),
        stops=tuple(document["stop"]) if isinstance(document.get("stop"), list) else (),
    )


def _envelope(call: Call) -> dict[str, Any]:
    return {
        "id": call.billed.response_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.billed.served_model,
    }


def _whole(call: Call, answers: Sequence[Answer]) -> dict[str, Any]:
    choices = [_choice(index, "".join(answer.text), answer.finish) for index, answer in enumerate(answers)]
    whole = _envelope(call) | {"choices": choices}
    if call.behaviour.usage is not UsageReport.NONE:
        whole["usage"] = call.billed.reported = reported(_usage(call, answers), call.behaviour.usage)
    return whole


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _usage(call: Call, answers: Sequence[Answer]) -> dict[str, int]:
    prompt, output = call.billed.input_total, sum(answer.output for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _events(document: Mapping[str, Any], call: Call, answers: Sequence[Answer]) -> Iterator[Event]:
    tells_usage = bool((document.get("stream_options") or {}).get("include_usage"))
    envelope = _envelope(call) | ({"usage": None} if tells_usage else {})
    for index, answer in enumerate(answers):
        for token in answer.text:
            data = envelope | {"choices": [_choice(index, token, None)]}
            yield Event(compact(data), output=1, paced=True)
        yield Event(compact(envelope | {"choices": [_choice(index, "", answer.finish)]}))
    if tells_usage and call.behaviour.usage is not UsageReport.NONE:
        call.billed.reported = reported(_usage(call, answers), call.behaviour.usage)
        yield Event(compact(envelope | {"choices": [], "usage": call.billed.reported}))
