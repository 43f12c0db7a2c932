"""OpenAI's legacy Completions (openai-python, `types/completion_create_params.py`).

A prompt may be a text, an array of texts, token numbers or an array of those; each prompt of an array is
completed apart, `best_of` completions are written (and billed) for each and `n` of them returned.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.formats import allowances
from gateway.formats.base import EVENT_STREAM, Counter, Dialect, InBandError, Intent, Report, StreamMeter
from gateway.formats.bodies import open_body, refuse_control
from gateway.formats.openai_envelope import read_reply
from gateway.formats.openai_meter import COMPLETION, OpenAIMeter
from gateway.formats.openai_request import CAP, CHOICES, StreamOptions
from gateway.formats.openai_splice import places_of, upstream_body
from gateway.formats.transcript import reply_texts

__all__ = ["FORMAT", "Completions"]

_DECIDING: Final = frozenset(
    ("best_of", "max_tokens", "model", "n", "prompt", "stream", "stream_options", "suffix", "user")
)
# OpenAI's reference: "max_tokens ... Defaults to 16". What the client did not ask for is not quoted or sent.
_CAP_DEFAULT: Final = 16

_Numbers = list[int]


class _Request(msgspec.Struct, gc=False):
    """What of a request is read."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    # Either one prompt (a text, token numbers) or several; msgspec tells arrays apart by their items only.
    prompt: str | list[str | int | _Numbers] | None = None
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: CAP | None = None
    n: CHOICES | None = None
    best_of: CHOICES | None = None
    user: str | None = None

    def prompts(self) -> list[str | int | _Numbers]:
        """Each prompt that is completed apart. Bare token numbers are one prompt."""
        if isinstance(self.prompt, list):
            return [[]] if self.prompt and isinstance(self.prompt[0], int) else self.prompt
        return [self.prompt or ""]


_REQUEST: Final = msgspec.json.Decoder(_Request)


class Completions:
    """See `gateway.formats.base.Format`."""

    name = "openai_completions"
    dialect: Dialect = "openai"
    stream_types = EVENT_STREAM
    paths = ("/v1/completions",)

    def read(self, path: str, body: bytes) -> Intent:
        request, members = open_body(body, _REQUEST, _DECIDING)
        refuse_control(request.model, "model")
        refuse_control(request.user, "user")
        stream, options = bool(request.stream), request.stream_options
        prompts = len(request.prompts())
        return Intent(
            model=request.model,
            stream=stream,
            output_cap=_CAP_DEFAULT if request.max_tokens is None else request.max_tokens,
            choices=max(prompts, 1) * max(request.n or 1, request.best_of or 1),
            # A token number takes a digit and a comma, so bytes bound token arrays too.
            input_bound=len(body) + prompts * allowances.MESSAGE_TOKENS,
            allowance=prompts * allowances.MESSAGE_TOKENS,
            end_user=request.user or None,
            wants_usage=stream and options is not None and options.include_usage is True,
            places=places_of(body, members, ("max_tokens",)),
        )

    def upstream_body(
        self, body: bytes, intent: Intent, model: str, cap_field: str, output_cap: int
    ) -> bytes:
        # This endpoint knows `max_tokens` alone, whatever the model's other endpoints want.
        return upstream_body(body, intent, model, "max_tokens", output_cap)

    def meter(self, intent: Intent) -> StreamMeter:
        return OpenAIMeter(intent, COMPLETION)

    def read_reply(
        self, body: bytes, intent: Intent | None = None
    ) -> tuple[Report | None, InBandError | None]:
        return read_reply(body, intent)

    def made(self, body: bytes) -> tuple[str, ...]:
        return ()

    def reply_text(self, body: bytes) -> str:
        return "\n".join(reply_texts(body))

    def prompt_text(self, body: bytes) -> str:
        request = _REQUEST.decode(body)
        return "\n".join(each for each in (*request.prompts(), request.suffix) if isinstance(each, str))

    def prompt_tokens(self, body: bytes, counter: Counter) -> int:
        request = _REQUEST.decode(body)
        prompts = request.prompt if isinstance(request.prompt, list) else [request.prompt or ""]
        return sum(_tokens(each, counter) for each in (*prompts, request.suffix or ""))


FORMAT: Final = Completions()


def _tokens(prompt: str | int | list[int], counter: Counter) -> int:
    if isinstance(prompt, str):
        return counter.count(prompt)
    return 1 if isinstance(prompt, int) else len(prompt)
