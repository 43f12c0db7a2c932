"""Azure OpenAI: OpenAI's chat under deployments, behind a content filter that reports on everything."""

from __future__ import annotations

from typing import Any, Final

from gateway.simulators.behaviour import Behaviour, Fault, split_knobs
from gateway.simulators.delivery import Call
from gateway.simulators.dialects.chat_answers import Reply
from gateway.simulators.dialects.chat_checks import read_ask, read_document
from gateway.simulators.dialects.chat_chunks import render
from gateway.simulators.dialects.chat_habits import Habits
from gateway.simulators.dialects.openai_chat import served_tier
from gateway.simulators.dialects.openai_errors import told_status
from gateway.simulators.events import Body, Stream
from gateway.simulators.exchange import Rejection, Request, accept
from gateway.simulators.models import Model, find_model
from gateway.simulators.wire import Headers

__all__ = ["answer_headers", "chat", "check_access", "deployed_model", "told_azure_status"]

_HABITS: Final = Habits(filters=True, readable=False)


def chat(request: Request, call: Call) -> Body | Stream:
    """``POST /openai/deployments/{deployment}/chat/completions?api-version=``."""
    check_access(request, call)
    model = deployed_model(request, call, "chat")
    document = read_document(request.body) | {"model": request.params["deployment"]}
    ask = read_ask(document, model)
    answers = accept(call, ask, model.served, told_azure_status)
    if call.behaviour.fault is Fault.PROMPT_BLOCKED:
        call.billed.forget_input()
        raise _blocked()
    call.billed.tier = served_tier(document, call)
    return render(Reply(call, document, answers, _HABITS, answer_headers(call)))


def check_access(request: Request, call: Call) -> None:
    """Raise the refusal of a request without a version or with a key that is not one."""
    if not request.query.get("api-version"):
        raise _error(404, "404", "Resource not found")
    key = request.headers.get("api-key") or request.bearer()
    known = call.stage.keys.get("azure")
    if key is None or (known is not None and key not in known):
        raise told_azure_status(Behaviour(status=401), "")


def deployed_model(request: Request, call: Call, kind: str) -> Model:
    """The model behind a deployment: the one configured, or the one it is named after."""
    name, _ = split_knobs(request.params["deployment"])
    model = find_model("openai", call.stage.deployments.get(name, name))
    if model is None or model.kind != kind:
        raise _error(
            404,
            "DeploymentNotFound",
            "The API deployment for this resource does not exist. If you created the deployment within the "
            "last 5 minutes, please wait a moment and try again.",
        )
    return model


def answer_headers(call: Call) -> Headers:
    """Headers of an answer."""
    return [
        (b"apim-request-id", b"00000000-0000-4000-8000-%012x" % call.billed.id),
        (b"x-request-id", b"00000000-0000-4000-9000-%012x" % call.billed.id),
        (b"x-ms-region", b"East US 2"),
        (b"azureml-model-session", b"simulated"),
        (b"x-ratelimit-remaining-requests", b"119"),
        (b"x-ratelimit-remaining-tokens", b"119984"),
    ]


def told_azure_status(chosen: Behaviour, model: str) -> Rejection:
    """The error a behaviour asks for: Azure's own gateway speaks for 401 and 429, the model for the rest."""
    if chosen.status == 401:
        return _error(
            401,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
            "valid key for an active subscription and use a correct regional API endpoint for your resource.",
        )
    if chosen.status == 429:
        wait = round(1 if chosen.retry_after is None else chosen.retry_after)
        rejection = _error(
            429,
            "429",
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded call "
            f"rate limit of your current pricing tier. Please retry after {wait} seconds.",
        )
        rejection.headers = [(b"retry-after", b"%d" % wait), (b"retry-after-ms", b"%d" % (wait * 1000))]
        return rejection
    return told_status(chosen, model)


def _blocked() -> Rejection:
    severe = {"filtered": True, "severity": "high"}
    safe = {"filtered": False, "severity": "safe"}
    return Rejection(
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure Content management "
                "policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {
                        "hate": severe,
                        "self_harm": safe,
                        "sexual": safe,
                        "violence": safe,
                    },
                },
            }
        },
        indent=None,
    )


def _error(status: int, code: str, message: str) -> Rejection:
    document: dict[str, Any] = {"error": {"code": code, "message": message}}
    return Rejection(status, document, indent=None)
