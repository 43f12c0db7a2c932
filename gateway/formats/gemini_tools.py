"""What the tools of a Gemini request may add to its cost.

Functions are run by the caller. All other tools are run by Google within the call, which feeds the model
what they found and lets it go on; each such round reads the prompt again (recorded: two executions of code
on a prompt of 91 tokens read 574 more). Field names: python-genai, `types.Tool`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.formats import allowances
from gateway.formats.gemini_chunks import DECODE_ERRORS
from gateway.formats.gemini_searches import searches_max

__all__ = ["Tool", "Tooling"]

Tool = dict[str, msgspec.Raw]

_FUNCTIONS: Final = frozenset(("functionDeclarations", "function_declarations"))
# Run by the caller too, but described by Google: some twenty functions.
_COMPUTER: Final = frozenset(("computerUse", "computer_use"))
_COMPUTER_TOKENS: Final = 4_096
_SEARCHES: Final = frozenset(
    (
        *("googleSearch", "google_search"),
        *("googleSearchRetrieval", "google_search_retrieval"),
        *("googleMaps", "google_maps"),
        *("enterpriseWebSearch", "enterprise_web_search"),
        *("parallelAiSearch", "parallel_ai_search"),
        *("exaAiSearch", "exa_ai_search"),
    )
)
# "Code execution": code that fails is written anew up to 5 times. Of other tools nothing is documented.
_ROUNDS_MAX: Final = 6
_STORES: Final = frozenset(("fileSearch", "file_search"))
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _FileSearch(msgspec.Struct, gc=False, rename="camel"):
    file_search_store_names: list[str] | None = None
    file_search_store_names_snake: list[str] | None = msgspec.field(
        default=None, name="file_search_store_names"
    )


_FILE_SEARCH: Final = msgspec.json.Decoder(_FileSearch)


class Tooling:
    """The tools of one request, added up.

    `hidden_tokens` is what they add to the prompt, `rounds` how often that may be read; `unseen` says that
    they bring input of unknown length, `fees` bounds what they cost by use. `stored` are the names of what
    they search at the provider.
    """

    def __init__(self, model: str, tools: list[Tool] | Tool | None) -> None:
        self.hidden_tokens = 0
        self.unseen = False
        self.fees: dict[str, int] = {}
        self.stored: list[str] = []
        for tool in tools if isinstance(tools, list) else [tools or {}]:
            for key, value in tool.items():
                if bytes(value) != b"null":
                    self._add(model, key, value)
        if self.hidden_tokens or self.unseen:
            self.hidden_tokens += allowances.TOOLS_TOKENS

    @property
    def rounds(self) -> int:
        """One, or more where tools are run within the call."""
        return _ROUNDS_MAX if self.unseen else 1

    def _add(self, model: str, key: str, value: msgspec.Raw) -> None:
        if key in _FUNCTIONS:
            self.hidden_tokens += _number_of(value) * allowances.TOOL_TOKENS
        elif key in _COMPUTER:
            self.hidden_tokens += _COMPUTER_TOKENS
        else:
            # Pages, files, outputs of code, and whatever nobody has told us of.
            self.unseen = True
            if key in _SEARCHES:
                self.fees["web_search"] = searches_max(model)
            elif key in _STORES:
                self.stored += _stores_in(value)


def _stores_in(value: msgspec.Raw) -> list[str]:
    """The stores that are searched; the provider has to say what is wrong with what is none."""
    try:
        told = _FILE_SEARCH.decode(value)
    except DECODE_ERRORS:
        return []
    return [*(told.file_search_store_names or ()), *(told.file_search_store_names_snake or ())]


def _number_of(value: msgspec.Raw) -> int:
    """How many items there are, where one may stand for itself."""
    try:
        return len(_ITEMS.decode(value))
    except DECODE_ERRORS:
        return 1
