"""Names that callers bring, of end users and tags: checked, bounded in length and number.

Every name becomes a row of the sums and may get a budget's window of its own, so that whoever may send any
name could fill the database: how many may be new in an hour is bounded too. Names are compared as they are,
without case folding or normalisation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.domain.errors import BadRequest
from gateway.domain.periods import HOUR_US

__all__ = [
    "END_USER",
    "OTHER",
    "NameGate",
    "check_tags",
    "end_user_name",
    "merge_tags",
    "problem_with",
    "tag_kind",
    "tag_name_problem",
]

# As wide as the columns they are stored in. OpenAI's `safety_identifier` has at most 128 characters.
END_USER_MAX_CHARACTERS: Final = 255
TAG_NAME_MAX_CHARACTERS: Final = 64
TAG_VALUE_MAX_CHARACTERS: Final = 255
# Each tag of a call is a row of its own for each meter.
TAGS_MAX: Final = 16
TAGS_HEADER: Final = "x-tollgate-tags"

# What new names share once an account has brought its share of them.
OTHER: Final = "other"
END_USER: Final = "end_user"

# Control characters and line separators forge lines of logs and CSV; a lone surrogate is no text at all
# and no database stores it.
_UNFIT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def end_user_name(text: str, *, param: str = "user") -> str:
    """The name of an end user without the spaces around it; BadRequest when it cannot be stored or shown."""
    name = text.strip(" ")
    problem = problem_with(name, END_USER_MAX_CHARACTERS)
    if problem:
        hint = f"Name end users by 1 to {END_USER_MAX_CHARACTERS} characters, such as your own id for them."
        raise BadRequest("invalid_value", f"The end user's name {problem}.", hint=hint, param=param)
    return name


def merge_tags(key_tags: Mapping[str, str], header_value: str) -> dict[str, str]:
    """The tags of a call: those in `team=search,env=prod`, and over them the key's own.

    A value may contain `=` but no comma. Empty list elements are passed over (RFC 9110, 5.6.1).
    """
    tags: dict[str, str] = {}
    for element in header_value.split(","):
        if not element.strip(" \t"):
            continue
        name, equals, value = (part.strip(" \t") for part in element.partition("="))
        if not equals:
            raise _invalid_tag(name, "has no value", TAGS_HEADER)
        if name in tags:
            raise _invalid_tag(name, "is given twice", TAGS_HEADER)
        tags[name] = value
    check_tags(tags, param=TAGS_HEADER)
    merged = {**tags, **key_tags}
    _check_number(merged, TAGS_HEADER)
    return merged


def check_tags(tags: Mapping[str, str], *, param: str = "tags") -> None:
    """Raise BadRequest, naming the tag, for tags of a key, a budget or a call that cannot be kept."""
    for name, value in tags.items():
        problem = tag_name_problem(name)
        if problem:
            raise _invalid_tag(name, f"has a name that {problem}", param)
        problem = problem_with(value, TAG_VALUE_MAX_CHARACTERS)
        if problem:
            raise _invalid_tag(name, f"has a value that {problem}", param)
    _check_number(tags, param)


def _check_number(tags: Mapping[str, str], param: str) -> None:
    if len(tags) > TAGS_MAX:
        hint = f"A call has at most {TAGS_MAX}, the key's own included."
        raise BadRequest("invalid_value", f"There are {len(tags)} tags.", hint=hint, param=param)


def _invalid_tag(name: str, problem: str, param: str) -> BadRequest:
    return BadRequest(
        "invalid_value",
        f"The tag {name[:TAG_NAME_MAX_CHARACTERS]!a} {problem}.",
        hint=f"Write team=search,env=prod: names up to {TAG_NAME_MAX_CHARACTERS} characters, "
        f"values up to {TAG_VALUE_MAX_CHARACTERS}.",
        param=param,
    )


def tag_name_problem(name: str) -> str | None:
    """What is wrong with the name of a tag, as the end of a sentence; None when nothing is."""
    if "," in name or "=" in name:
        return "contains a comma or an equals sign"
    return problem_with(name, TAG_NAME_MAX_CHARACTERS)


def problem_with(text: str, most: int) -> str | None:
    """What keeps a text of at most `most` characters from being stored and shown; None when nothing does."""
    if not text:
        return "is empty"
    if len(text) > most:
        return f"has {len(text)} characters"
    if text != text.strip():
        return "begins or ends with a space"
    if text.isprintable():
        return None
    unfit = next((character for character in text if unicodedata.category(character) in _UNFIT), None)
    return None if unfit is None else f"contains the control character U+{ord(unfit):04X}"


def tag_kind(name: str) -> str:
    """The kind under which values of this tag are known to a `NameGate`; also how `each` spells it."""
    return f"tag:{name}"


class NameGate:
    """At most `per_hour` new names per account and hour; past it, new ones share `other`.

    A name is known once admitted, and stays so while it is among the last `most_known // 2` distinct names
    that were used; a forgotten one is new again. Hours are those of UTC. Each worker has a gate of its own.
    """

    def __init__(self, per_hour: int, most_known: int = 200_000) -> None:
        self._per_hour = per_hour
        self._half = max(1, most_known // 2)
        # Two generations of hashes: a name in use moves to the younger one, and the older is dropped whole.
        # A collision of 64-bit hashes lets one new name pass as known, which harms nobody.
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._pinned: frozenset[tuple[str, str]] = frozenset()
        self._hour = 0
        self._new: dict[str, int] = {}

    @property
    def size(self) -> int:
        """How many names are remembered; never more than `most_known`."""
        return len(self._younger) + len(self._older)

    def admit(self, account: str, kind: str, name: str, now_us: int) -> str:
        """The name if it is known or may be new, else `other`. `kind` is `end_user` or a `tag_kind`."""
        return name if self._passes(account, kind, name, now_us) else OTHER

    def admit_tags(
        self, account: str, tags: Mapping[str, str], own: Mapping[str, str], now_us: int
    ) -> dict[str, str]:
        """The tags with new values past the bound as `other`, and new tag names too.

        `own` are the key's tags: an administrator chose them, so they pass whatever callers do.
        """
        admitted = {}
        for name, value in tags.items():
            if name in own:
                admitted[name] = value
            elif self._passes(account, tag_kind(name), value, now_us):
                self.know(account, "tag", name)
                admitted[name] = value
            elif self._knows(account, "tag", name):
                admitted[name] = OTHER
            else:
                admitted.setdefault(OTHER, OTHER)
        return admitted

    def know(self, account: str, kind: str, name: str) -> None:
        """Take a name for known without counting it, such as one found in the ledger at start."""
        self._younger.add(hash((account, kind, name)))
        if len(self._younger) >= self._half:
            self._older, self._younger = self._younger, set()

    def pin(self, names: Iterable[tuple[str, str]]) -> None:
        """Set the (kind, name) pairs that budgets name: these never become `other`, or they would escape."""
        self._pinned = frozenset(names)

    def _passes(self, account: str, kind: str, name: str, now_us: int) -> bool:
        passes = self._knows(account, kind, name) or self._may_be_new(account, now_us)
        if passes:
            self.know(account, kind, name)
        return passes

    def _knows(self, account: str, kind: str, name: str) -> bool:
        known = hash((account, kind, name))
        return known in self._younger or known in self._older or (kind, name) in self._pinned

    def _may_be_new(self, account: str, now_us: int) -> bool:
        hour = now_us // HOUR_US
        if hour != self._hour:
            self._hour = hour
            self._new.clear()
        count = self._new.get(account, 0)
        if count >= self._per_hour:
            return False
        self._new[account] = count + 1
        return True
