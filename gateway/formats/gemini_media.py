"""What of a Gemini prompt is no text: what it may cost, how much of the body it takes, what is out of sight.

Field names: python-genai, `types.Part`. Everything may be spelled as the API writes it (`inlineData`) or as
its protocol buffers do (`inline_data`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.formats import allowances
from gateway.formats.gemini_chunks import DECODE_ERRORS

__all__ = ["ANY_MEDIA", "Content", "Media", "Part", "Parts", "several", "stored_name"]

Part = dict[str, msgspec.Raw]
# Wherever an array is expected, the API takes a single object as well.
Parts = list[Part] | Part


class Content(msgspec.Struct, gc=False):
    """One turn of a conversation, or the system instruction."""

    parts: Parts | None = None


class _Blob(msgspec.Struct, gc=False, rename="camel"):
    data: msgspec.Raw = msgspec.Raw()
    file_uri: str | None = None
    file_uri_snake: str | None = msgspec.field(default=None, name="file_uri")
    mime_type: str | None = None
    mime_type_snake: str | None = msgspec.field(default=None, name="mime_type")

    @property
    def type(self) -> str:
        return (self.mime_type or self.mime_type_snake or "").lower()


class _Response(msgspec.Struct, gc=False):
    parts: Parts | None = None


_BLOB: Final = msgspec.json.Decoder(_Blob)
_RESPONSE: Final = msgspec.json.Decoder(_Response)

ANY_MEDIA: Final = frozenset(("audio_input", "image_input", "video_input"))
# Kinds of media by the beginning of their type, and the meters that they may be billed in.
_METERS: Final = {
    "audio/": frozenset(("audio_input",)),
    "image/": frozenset(("image_input",)),
    "video/": frozenset(("audio_input", "video_input")),
    "application/pdf": frozenset(("image_input",)),
}
# "Understand and count tokens": an image is cut into at most 24 tiles of 258 tokens (3,072 x 385 pixels),
# and so is all of it once more; from Gemini 3 on it takes 2,240 at the highest resolution ("Media
# resolution").
_IMAGE_TOKENS: Final = 25 * 258
# Containers whose thinnest stream is known, see `allowances.audio_tokens_max`. Others, of which silence
# takes next to nothing, are bounded by a token for each character, as text is.
_THICK_AUDIO: Final = re.compile(r"audio/(?:mpeg|mp3|wav|x-wav|wave)(?:;|$)")
_TEXT: Final = re.compile(r"text/|application/(?:json|xml|javascript|x-javascript|x-python|rtf)")
# No context window is larger by much: whatever might be, is quoted at the window.
_BOUND_MAX: Final = 1_000_000

_TEXT_PARTS: Final = frozenset(
    (
        "text",
        "thought",
        *("thoughtSignature", "thought_signature"),
        *("functionCall", "function_call"),
        *("executableCode", "executable_code"),
        *("codeExecutionResult", "code_execution_result"),
        *("toolCall", "tool_call"),
        *("toolResponse", "tool_response"),
        *("partMetadata", "part_metadata"),
        # These say how media in the same part are read.
        *("videoMetadata", "video_metadata"),
        *("mediaResolution", "media_resolution"),
    )
)
_INLINE: Final = frozenset(("inlineData", "inline_data"))
_STORED: Final = frozenset(("fileData", "file_data"))
_ANSWERS: Final = frozenset(("functionResponse", "function_response"))
_NULL: Final = b"null"


def several(parts: Parts | None) -> Iterable[Part]:
    """The objects in an array, or the object in its place."""
    if isinstance(parts, list):
        return parts
    return () if parts is None else (parts,)


class Media:
    """The media of one prompt, added up.

    `tokens` is the most that those of known size cost, `body_bytes` how much of the body they take, which
    is no text; `unseen` says that there is input of unknown length, `apart` which meters it may be in.
    `stored` are the names of what is kept at the provider.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.body_bytes = 0
        self.unseen = False
        self.apart: frozenset[str] = frozenset()
        self.stored: list[str] = []

    def add(self, parts: Parts | None) -> None:
        """Take in the parts of one turn."""
        for part in several(parts):
            for key, value in part.items():
                if key in _TEXT_PARTS or bytes(value) == _NULL:
                    continue
                if key in _ANSWERS:
                    self._add_answer(value)
                else:
                    self._add(key, value)

    def _add_answer(self, value: msgspec.Raw) -> None:
        """What a function gave back: text in the body, and perhaps media."""
        try:
            parts = _RESPONSE.decode(value).parts
        except DECODE_ERRORS:
            self._hide("")
            return
        for part in several(parts):
            for key, each in part.items():
                if key not in _TEXT_PARTS and bytes(each) != _NULL:
                    self._add(key, each)

    def _add(self, key: str, value: msgspec.Raw) -> None:
        try:
            blob = _BLOB.decode(value) if key in _INLINE or key in _STORED else _Blob()
        except DECODE_ERRORS:
            # The provider has to say what is wrong with it.
            blob = _Blob()
        if key in _INLINE:
            self._add_inline(blob.type, max(memoryview(blob.data).nbytes - 2, 0))
        else:
            # Stored at the provider or behind a URL; or a part that nobody has told us of.
            self._hide(blob.type)
            self.stored += filter(None, (stored_name(blob.file_uri), stored_name(blob.file_uri_snake)))

    def _add_inline(self, kind: str, characters: int) -> None:
        """Media in the body itself, as so many characters of base64."""
        if kind.startswith("image/"):
            self._bound(kind, characters, _IMAGE_TOKENS)
        elif _THICK_AUDIO.match(kind):
            self._bound(kind, characters, allowances.audio_tokens_max(characters))
        elif kind.startswith("audio/") or _TEXT.match(kind):
            self._bound(kind, characters, characters)
        else:
            # Videos, of which hours may be next to nothing; documents, whose pages are read as images.
            self._hide(kind)
            self.body_bytes += characters

    def _bound(self, kind: str, characters: int, tokens: int) -> None:
        self.body_bytes += characters
        self.apart |= _meters(kind)
        if tokens > _BOUND_MAX:
            self.unseen = True
        else:
            self.tokens += tokens

    def _hide(self, kind: str) -> None:
        self.unseen = True
        self.apart |= _meters(kind)


def stored_name(uri: str | None) -> str | None:
    """The name of what a URI points to at Google, such as `files/abc`; None for what is on the open web."""
    if not uri:
        return None
    scheme, found, rest = uri.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return uri
    host, _, path = rest.partition("/")
    # Whatever is at one of Google's own API hosts is read with our credential.
    if not host.rpartition("@")[2].partition(":")[0].rstrip(".").lower().endswith(".googleapis.com"):
        return None
    _, version, name = path.partition("/")
    return name.partition("?")[0] if version else path


def _meters(kind: str) -> frozenset[str]:
    if _TEXT.match(kind):
        return frozenset()
    return next((meters for start, meters in _METERS.items() if kind.startswith(start)), ANY_MEDIA)
