"""OpenAI's Embeddings (openai-python, `types/embedding_create_params.py`).

An input is a text, an array of texts, token numbers or an array of those. Nothing is generated, so only the
prompt is billed; a reply that tells no usage has its prompt counted.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.bodies import open_body, refuse_control
from gateway.formats.openai_envelope import error_in, is_object, open_envelope, text_of
from gateway.formats.openai_meter import OpenAIMeter
from gateway.formats.openai_splice import name_model
from gateway.formats.openai_usage import read_usage

__all__ = ["FORMAT", "Embeddings"]

_DECIDING: Final = frozenset(("dimensions", "encoding_format", "input", "model", "user"))
# Models of other makers put a token before and one after each text.
_FRAME_TOKENS: Final = 2

_Numbers = list[int]


class _Request(msgspec.Struct, gc=False):
    """What of a request is read."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    # Either one input (a text, token numbers) or several; msgspec tells arrays apart by their items only.
    input: str | list[str | int | _Numbers]
    user: str | None = None

    def inputs(self) -> list[str | _Numbers]:
        """Each input that is embedded apart. Bare token numbers are one."""
        if isinstance(self.input, str):
            return [self.input]
        numbers = [each for each in self.input if isinstance(each, int)]
        return [numbers] * bool(numbers) + [each for each in self.input if not isinstance(each, int)]


_REQUEST: Final = msgspec.json.Decoder(_Request)


class Embeddings:
    """See `gateway.formats.base.Format`."""

    name = "openai_embeddings"
    dialect: Dialect = "openai"
    stream_types = EVENT_STREAM
    paths = ("/v1/embeddings",)

    def read(self, path: str, body: bytes) -> Intent:
        request, members = open_body(body, _REQUEST, _DECIDING)
        refuse_control(request.model, "model")
        refuse_control(request.user, "user")
        frames = _FRAME_TOKENS * len(request.inputs())
        return Intent(
            model=request.model,
            stream=False,
            output_cap=0,
            choices=1,
            # A token number takes a digit and a comma, so bytes bound token arrays too.
            input_bound=len(body) + frames,
            allowance=frames,
            end_user=request.user or None,
            places=tuple(member for member in members if member.key == "model"),
        )

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        return name_model(body, intent, model)

    def meter(self, intent: Intent) -> StreamMeter:
        # Nothing here is streamed; what came as a stream all the same is metered like a completion.
        return OpenAIMeter(intent)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        envelope = open_envelope(body)
        if envelope is None:
            return None, InBandError("unreadable_reply", "the upstream's reply is not a JSON object")
        report = None
        if is_object(envelope.usage):
            report = read_usage(
                bytes(envelope.usage), has_output=lambda: False, model=text_of(envelope.model), fees={}
            )
        # Whoever embedded something has read something.
        return report if report is not None and report.usage else None, error_in(envelope)

    def made(self, body: bytes) -> tuple[str, ...]:
        return ()

    def reply_text(self, body: bytes) -> str:
        return ""

    def prompt_text(self, body: bytes) -> str:
        return "\n".join(each for each in _REQUEST.decode(body).inputs() if isinstance(each, str))

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        return sum(
            counter.count(each) if isinstance(each, str) else len(each)
            for each in _REQUEST.decode(body).inputs()
        )


FORMAT: Final = Embeddings()
