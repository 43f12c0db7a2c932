"""What tools, servers and helpers of a Messages request may add to its cost, before it is made.

Some tools are run by the caller: they add a description of themselves. Others are run by Anthropic, which
feeds their results to the model and lets it go on, turn after turn, within one call
(platform.claude.com/docs, "Server tools"; anthropic-sdk-python, `types/beta/beta_tool_union_param.py`).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

__all__ = ["ADVISOR_TOKENS", "CACHE_LIFETIME_LONG", "CAP", "TURNS_MAX", "CacheControl", "Tool", "Tooling"]

# No model writes as much; sums of such numbers stay far inside 64 bits.
CAP = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
CACHE_LIFETIME_LONG: Final = "1h"

# Anthropic pauses a turn after 10 samplings of its own ("Stop reasons", `pause_turn`); the caller may have
# it go on with a call of its own.
TURNS_MAX: Final = 10
# Searches for which nobody set a bound: three at once in each of those turns. Ten in all were recorded.
_SEARCHES_MAX: Final = 30

# The instructions for calling tools: 159 to 530 tokens by the published table ("Tool use", "Pricing"), and
# room for models whose tokens are shorter.
_TOOLS_TOKENS: Final = 1_024
_TOOL_TOKENS: Final = 64
# Tools of Anthropic's own making that the caller runs, by the beginning of their type, and the tokens that
# their descriptions take: 245 to 735 are documented, and a computer's were measured at 1,250 with all there
# is around them. A toolset is some thirty tools.
_CALLERS: Final = {
    "bash_": 1_024,
    "text_editor_": 1_024,
    "memory_": 2_048,
    "computer_toolset_": 16_384,
    "browser_toolset_": 16_384,
    "computer_": 4_096,
}
# Searches among the tools of the request itself: what they find was in the body already.
_TOOL_SEARCH: Final = "tool_search_tool_"
_WEB_SEARCH: Final = "web_search_"
_ADVISOR: Final = "advisor_"
# An advisor is told its task in some 1,400 tokens (measured), and a cut answer of its is given a note.
ADVISOR_TOKENS: Final = 4_096
_NOTE_TOKENS: Final = 256


class CacheControl(msgspec.Struct, gc=False):
    """Where a prompt may be cached, and for how long."""

    ttl: str | None = None


class Tool(msgspec.Struct, gc=False):
    """What of a tool's definition is read."""

    type: str | None = None
    max_uses: CAP | None = None
    max_tokens: CAP | None = None
    model: str | None = None
    cache_control: CacheControl | None = None
    caching: CacheControl | None = None


class Tooling:
    """The tools of one request, added up.

    `turns` is how often the model may be sampled, `hidden_tokens` what the tools add to each prompt,
    `told_tokens` what an advisor may add to the later ones; `unseen` says that a tool brings input of
    unknown length. `searches` bounds the web searches, `advisors` are the tools that ask another model.
    """

    def __init__(self, tools: list[Tool], has_servers: bool) -> None:
        self.hidden_tokens = 0
        self.searches = 0
        self.told_tokens = 0
        self.unseen = has_servers
        self.advisors: list[Tool] = []
        self._uses: list[int | None] = [None] if has_servers else []
        if tools or has_servers:
            self.hidden_tokens = _TOOLS_TOKENS + len(tools) * _TOOL_TOKENS
        for tool in tools:
            if tool.type is not None and tool.type != "custom":
                self._add(tool, tool.type)

    @property
    def turns(self) -> int:
        """One, and one more for each use of a tool that Anthropic runs, as far as it goes on by itself."""
        if None in self._uses:
            return TURNS_MAX
        return min(TURNS_MAX, 1 + sum(uses or 0 for uses in self._uses))

    @property
    def has_long_cache(self) -> bool:
        """Whether an advisor's prompt is to be cached for an hour."""
        return any(_is_long(tool.caching) for tool in self.advisors)

    def _add(self, tool: Tool, kind: str) -> None:
        for start, tokens in _CALLERS.items():
            if kind.startswith(start):
                self.hidden_tokens += tokens
                return
        self._uses.append(tool.max_uses)
        if kind.startswith(_ADVISOR) and tool.model is not None:
            self.advisors.append(tool)
            self.unseen = self.unseen or tool.max_tokens is None
            self.told_tokens += (tool.max_tokens or 0) + _NOTE_TOKENS
        elif not kind.startswith(_TOOL_SEARCH):
            # Web pages, outputs of code, tools of other servers, and whatever nobody has told us of.
            self.unseen = True
        if kind.startswith(_WEB_SEARCH):
            self.searches += _SEARCHES_MAX if tool.max_uses is None else tool.max_uses


def _is_long(control: CacheControl | None) -> bool:
    return control is not None and control.ttl == CACHE_LIFETIME_LONG
