"""What the tools of a Responses request may add to its cost, before it is made.

Some tools the caller runs: they add a description of themselves. Others OpenAI runs, feeds their results to
the model and lets it go on, within one call; `max_tool_calls` bounds how often (openai-python,
`types/responses/tool_param.py`). Where the request sets no such bound, the gateway sends one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from gateway.formats import allowances

__all__ = ["CALLS", "IMAGE_MODEL", "TOOL_CALLS_MAX", "UNITS", "Container", "Tool", "Tooling"]

# Calls of tools that OpenAI runs, in a request that bounds them by itself no further.
TOOL_CALLS_MAX: Final = 8
# More calls than that are no bound at all.
CALLS = Annotated[int, msgspec.Meta(ge=0, le=1024)]
# Tools that the caller runs; a namespace holds some of them.
_CALLERS: Final = frozenset(
    (
        "function",
        "custom",
        "local_shell",
        "apply_patch",
        "namespace",
        "tool_search",
        "programmatic_tool_calling",
    )
)
# Their descriptions, where OpenAI wrote those itself.
_COMPUTERS: Final = ("computer", "computer_use_preview")
_COMPUTER_TOKENS: Final = 4_096
# Tools that cost a fee for each use, by the beginning of their type.
_FEES: Final = {"web_search": "web_search", "file_search": "file_search"}
_CONTAINERS: Final = ("code_interpreter", "shell")
# What a container costs is told for each gigabyte of its memory ("Pricing", containers).
UNITS: Final = {"1g": 1, "4g": 4, "16g": 16, "64g": 64}
# Images are made by a model of their own: this one, where the request names none.
IMAGE_MODEL: Final = "gpt-image-2.6-sunburst"


class Container(msgspec.Struct, gc=False):
    """Where code runs: one that is there, or a new one."""

    type: str | None = None
    container_id: str | None = None
    file_ids: list[str] | None = None
    memory_limit: str | None = None
    skills: list[dict[str, Any]] | None = None


class _Mask(msgspec.Struct, gc=False):
    file_id: str | None = None


class Tool(msgspec.Struct, gc=False):
    """What of a tool's definition is read."""

    type: str | None = None
    tools: list[dict[str, Any]] | None = None
    vector_store_ids: list[str] | None = None
    container: str | Container | None = None
    environment: Container | None = None
    model: str | None = None
    input_image_mask: _Mask | None = None


class Tooling:
    """The tools of one request, added up.

    `hidden_tokens` is what they add to each prompt; `runs` says that OpenAI runs some of them, `unseen` that
    these bring input of unknown length. `fees` bounds the uses that cost a fee, `images` are the models that
    may be asked for images, `stored` the ids of what they read at the provider.
    """

    def __init__(self, tools: Iterable[Tool], max_calls: int | None) -> None:
        self.calls_max = TOOL_CALLS_MAX if max_calls is None else max_calls
        self.hidden_tokens = 0
        self.runs = False
        self.fees: dict[str, int] = {}
        self.images: list[str] = []
        self.stored: list[str] = []
        for tool in tools:
            self._add(tool, tool.type or "")
        if self.hidden_tokens:
            self.hidden_tokens += allowances.TOOLS_TOKENS

    @property
    def unseen(self) -> bool:
        """Whether input of unknown length may come in."""
        return self.runs

    @property
    def turns(self) -> int:
        """How often the model may be sampled: once, and once more after each call that OpenAI runs."""
        return 1 + self.calls_max if self.runs else 1

    def _add(self, tool: Tool, kind: str) -> None:
        self.hidden_tokens += allowances.TOOL_TOKENS * (1 + len(tool.tools or ()))
        self.stored += tool.vector_store_ids or ()
        if kind in _COMPUTERS:
            self.hidden_tokens += _COMPUTER_TOKENS
        elif kind in _CONTAINERS:
            self._add_container(tool.container if kind == "code_interpreter" else tool.environment)
        elif kind not in _CALLERS:
            # Searches, images, tools of other servers, and whatever nobody has told us of.
            self.runs = True
            for start, meter in _FEES.items():
                if kind.startswith(start):
                    self.fees[meter] = self.calls_max
            if kind == "image_generation":
                self._add_images(tool)

    def _add_container(self, where: str | Container | None) -> None:
        if isinstance(where, str):
            where = Container("container_reference", where)
        if where is None or where.type == "local":
            return
        self.runs = True
        self.stored += where.file_ids or ()
        self.stored += [str(skill["skill_id"]) for skill in where.skills or () if skill.get("skill_id")]
        if where.container_id is not None:
            self.stored.append(where.container_id)
        size = UNITS.get(where.memory_limit or "1g", max(UNITS.values()))
        self.fees["code_interpreter"] = self.fees.get("code_interpreter", 0) + size

    def _add_images(self, tool: Tool) -> None:
        self.images.append(tool.model or IMAGE_MODEL)
        if tool.input_image_mask is not None and tool.input_image_mask.file_id:
            self.stored.append(tool.input_image_mask.file_id)
