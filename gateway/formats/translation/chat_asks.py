"""Reads a chat completions request as far as it can be said in another dialect.

Every field of the API has a place here (openai-python, `types/chat/completion_create_params.py`); one that
has none is refused by its name. What an assistant turn holds beyond the API's own fields is what the gateway
put into its answers: it comes back as it was told, and goes to the provider that it came from.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.formats.translation.refusing import invalid, is_set, read_request, unsupported

__all__ = [
    "Ask",
    "Message",
    "Part",
    "Tool",
    "ToolCall",
    "arguments_of",
    "data_of",
    "parts_of",
    "read_ask",
]


class _ImageUrl(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class _InputAudio(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    data: str
    format: str


class _File(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One part of a message. `cache_control` is Anthropic's, which several gateways take here."""

    type: str
    text: str | None = None
    image_url: _ImageUrl | None = None
    input_audio: _InputAudio | None = None
    file: _File | None = None
    refusal: str | None = None
    cache_control: dict[str, Any] | None = None


class Function(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What is called, its arguments as text. SDKs add what they made of them."""

    name: str
    arguments: str = ""
    parsed_arguments: Any = None


class ToolCall(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One call of a tool in an assistant turn."""

    id: str
    function: Function
    type: str = "function"
    index: int | None = None
    extra_content: dict[str, Any] | None = None


class Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One message. `thinking_blocks`, `extra_content` and `images` come from answers, `parsed` from SDKs."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    extra_content: dict[str, Any] | None = None
    images: Any = None
    parsed: Any = None
    annotations: Any = None
    audio: Any = None
    function_call: Any = None
    cache_control: dict[str, Any] | None = None


class FunctionDefinition(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a tool is to the model."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A tool that the caller runs."""

    function: FunctionDefinition | None = None
    type: str = "function"
    cache_control: dict[str, Any] | None = None


class _Named(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    name: str


class _ToolChoice(msgspec.Struct, gc=False):
    type: str
    function: _Named | None = None


class JsonSchema(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The shape of a structured answer."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    json_schema: JsonSchema | None = None


class Ask(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One request; see `_NEUTRAL` for what of it no translation can say."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    # These change neither the answer nor its cost elsewhere.
    stream_options: Any = None
    metadata: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    # These have to be unset, see `_NEUTRAL`.
    store: Any = None
    logit_bias: Any = None
    verbosity: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    functions: Any = None
    function_call: Any = None
    moderation: Any = None
    prompt_cache_options: Any = None

    @property
    def cap(self) -> int | None:
        """The output cap, by either name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def stops(self) -> list[str]:
        """The texts that end the answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def named_tool(self) -> str | None:
        """The one tool that has to be called, where one is named."""
        choice = self.tool_choice
        if choice is None or isinstance(choice, str):
            return None
        if choice.type != "function" or choice.function is None:
            unsupported("tool_choice.type", "another provider")
        return choice.function.name

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer has to follow."""
        wanted = self.response_format
        if wanted is None or wanted.json_schema is None:
            return None
        return wanted.json_schema.schema or {"type": "object"}


_ASK: Final = msgspec.json.Decoder(Ask)
# What asks for nothing, of fields that no other dialect has.
_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "verbosity": ("medium",),
    "modalities": (["text"],),
    "function_call": ("none", "auto"),
}
_UNSAYABLE: Final = (
    "store",
    "logit_bias",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "web_search_options",
    "functions",
    "function_call",
    "moderation",
    "prompt_cache_options",
)
_FORMATS: Final = ("text", "json_object", "json_schema")
_CHOICES: Final = ("none", "auto", "required")


def read_ask(body: bytes, other: str) -> Ask:
    """The request for the dialect of `other`. Raises BadRequest for what no other dialect can say."""
    ask = read_request(body, _ASK, other)
    for name in _UNSAYABLE:
        value = getattr(ask, name)
        if is_set(value) and value not in _NEUTRAL.get(name, ()):
            unsupported(name, other)
    if isinstance(ask.tool_choice, str) and ask.tool_choice not in _CHOICES:
        invalid("tool_choice", f"{ask.tool_choice!r:.64} is none", f"One of {', '.join(_CHOICES)}.")
    if ask.response_format is not None and ask.response_format.type not in _FORMATS:
        unsupported("response_format.type", other)
    for place, tool in enumerate(ask.tools or ()):
        if tool.type != "function" or tool.function is None:
            unsupported(f"tools[{place}].type", other, "Only tools of the type `function` can be translated.")
    for place, message in enumerate(ask.messages):
        _check_message(message, f"messages[{place}]", other)
    return ask


def _check_message(message: Message, where: str, other: str) -> None:
    if message.role not in ("system", "developer", "user", "assistant", "tool"):
        unsupported(f"{where}.role", other)
    if message.name and message.role in ("user", "assistant"):
        unsupported(f"{where}.name", other, "Write the speaker's name into the text.")
    for name in ("audio", "function_call"):
        if is_set(getattr(message, name)):
            unsupported(f"{where}.{name}", other)
    for number, call in enumerate(message.tool_calls or ()):
        if call.type != "function":
            unsupported(f"{where}.tool_calls[{number}].type", other)


def parts_of(message: Message) -> list[Part]:
    """The content as parts; a text alone is one of them, no content is none."""
    if isinstance(message.content, str):
        return [Part("text", text=message.content, cache_control=message.cache_control)]
    return message.content or []


def arguments_of(call: ToolCall, where: str) -> dict[str, Any]:
    """The arguments of a call as an object; none at all are an empty one."""
    text = call.function.arguments.strip()
    if not text:
        return {}
    try:
        arguments = msgspec.json.decode(text)
    except msgspec.DecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        invalid(f"{where}.function.arguments", "it is no JSON object", "Send the arguments as a JSON object.")
    return arguments


def data_of(url: str, where: str) -> tuple[str, str] | None:
    """Media type and base64 of a data URL (RFC 2397); None for any other URL."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    kind, _, coding = head.partition(";")
    if not comma or coding.rpartition(";")[2].strip().lower() != "base64" or not kind:
        invalid(where, "it is no data URL in base64", "Send `data:image/png;base64,...`.")
    return kind.strip().lower(), data
