"""Names that callers bring: what is kept, what is refused, and how many may be new."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.names import (
    END_USER,
    OTHER,
    TAGS_MAX,
    NameGate,
    check_tags,
    end_user_name,
    merge_tags,
    problem_with,
    tag_kind,
)
from gateway.domain.periods import HOUR_US

CONTROLS = ["\0", "\r", "\n", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]

words = st.text(st.characters(codec="utf-8", exclude_characters=",="), min_size=1, max_size=20).filter(
    lambda text: problem_with(text, 64) is None
)
tag_sets = st.dictionaries(words, words, max_size=6)


@given(own=tag_sets, sent=tag_sets)
def test_tags_are_read_back_and_the_keys_own_win(own: dict[str, str], sent: dict[str, str]) -> None:
    header = ",".join(f"{name}={value}" for name, value in sent.items())
    assert merge_tags(own, header) == {**sent, **own}


@given(own=tag_sets, header=st.text(max_size=60))
def test_any_header_is_read_or_refused(own: dict[str, str], header: str) -> None:
    refusals = []
    try:
        merged = merge_tags(own, header)
        check_tags(merged)
        assert merged.items() >= own.items()
    except BadRequest as refusal:
        refusals.append(refusal)
    assert all(each.param == "x-tollgate-tags" and each.message.isprintable() for each in refusals)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("team=search,env=prod", {"team": "search", "env": "prod"}),
        (" team = search , env=prod ", {"team": "search", "env": "prod"}),
        ("", {}),
        (",, ,", {}),
        ("team=search,", {"team": "search"}),
        ("query=a=b", {"query": "a=b"}),
        ("team=büro 7", {"team": "büro 7"}),
    ],
)
def test_known_headers(header: str, expected: dict[str, str]) -> None:
    assert merge_tags({}, header) == expected


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("team", "team"),
        ("team=", "team"),
        ("=search", "''"),
        ("team=a,team=a", "team"),
        ("a=1,team=" + "x" * 256, "team"),
        ("t" * 65 + "=x", "t" * 64),
        *((f"a=1,team=x{control}y", "team") for control in CONTROLS),
        *((f"te{control}am=x", "te\\") for control in CONTROLS),
    ],
)
def test_a_bad_tag_is_refused_by_name(header: str, named: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        merge_tags({}, header)
    assert refusal.value.code == "invalid_value"
    assert refusal.value.param == "x-tollgate-tags"
    assert named in refusal.value.message
    assert refusal.value.message.isprintable(), "a refusal must not carry what it refuses"


def test_the_number_of_tags_is_bounded_with_the_keys_own() -> None:
    own = {f"own{n}": "x" for n in range(TAGS_MAX - 1)}
    assert len(merge_tags(own, "a=1")) == TAGS_MAX
    assert len(merge_tags(own, "a=1,own0=2")) == TAGS_MAX
    with pytest.raises(BadRequest, match="17 tags"):
        merge_tags(own, "a=1,b=2")
    with pytest.raises(BadRequest, match="17 tags"):
        check_tags({**own, "a": "1", "b": "2"})


def test_a_keys_own_tags_may_hold_what_no_header_could() -> None:
    check_tags({"owner": "Smith, John"})
    with pytest.raises(BadRequest, match="comma"):
        check_tags({"a,b": "x"})
    with pytest.raises(BadRequest, match="equals"):
        check_tags({"a=b": "x"})


@pytest.mark.parametrize("name", ["alice", "Ålice 👩‍💻", "user_1@example.com", "x" * 255])
def test_an_end_user_keeps_their_name(name: str) -> None:
    assert end_user_name(name) == name
    assert end_user_name(f"  {name} ") == name


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, *(f"al{control}ice" for control in CONTROLS)])
def test_an_end_user_that_cannot_be_stored_or_shown_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        end_user_name(name, param="safety_identifier")
    assert refusal.value.param == "safety_identifier"
    assert refusal.value.message.isprintable()
    assert "255" in refusal.value.hint


@given(text=st.text(st.characters(), max_size=40))
def test_what_passes_survives_a_database_and_a_line_of_a_log(text: str) -> None:
    if problem_with(text, 30) is None:
        assert text.encode().decode() == text
        assert len(text.splitlines()) == 1
        assert "\0" not in text
        assert 1 <= len(text) <= 30


NOW = 500_000 * HOUR_US
uses = st.lists(
    st.tuples(
        st.sampled_from(["acct_1", "acct_2"]),
        st.sampled_from([END_USER, tag_kind("team")]),
        st.integers(0, 12).map(str),
        st.sampled_from([0, 0, 0, 1, HOUR_US // 7, HOUR_US, -HOUR_US]),
    ),
    max_size=60,
)


@given(per_hour=st.integers(0, 5), calls=uses)
def test_at_most_so_many_new_names_an_hour_and_known_ones_go_on(
    per_hour: int, calls: list[tuple[str, str, str, int]]
) -> None:
    """Held against sets that forget nothing."""
    gate, now = NameGate(per_hour), NOW
    known: set[tuple[str, str, str]] = set()
    fresh: dict[str, int] = {}
    hour = now // HOUR_US
    for account, kind, name, step in calls:
        now += step
        if (account, kind, name) not in known:
            # An hour is over when a name asks to be new in another one, be it an earlier one.
            if now // HOUR_US != hour:
                hour, fresh = now // HOUR_US, {}
            if fresh.get(account, 0) < per_hour:
                known.add((account, kind, name))
                fresh[account] = fresh.get(account, 0) + 1
        passes = (account, kind, name) in known
        assert gate.admit(account, kind, name, now) == (name if passes else OTHER)


def test_past_the_bound_new_names_share_other_until_the_next_hour() -> None:
    gate = NameGate(per_hour=2)
    assert [gate.admit("acct", END_USER, name, NOW) for name in "abcab"] == ["a", "b", OTHER, "a", "b"]
    assert gate.admit("acct_2", END_USER, "c", NOW) == "c", "another account has a bound of its own"
    assert gate.admit("acct", END_USER, "c", NOW + HOUR_US) == "c"


@given(names=st.lists(st.integers(0, 40), max_size=300), most=st.integers(2, 20))
def test_memory_is_bounded_and_keeps_what_was_used_last(names: list[int], most: int) -> None:
    gate = NameGate(per_hour=0, most_known=most)
    for name in names:
        gate.know("acct", END_USER, str(name))
        assert gate.size <= most
    last_used = list(dict.fromkeys(reversed(names)))[: most // 2]
    for name in last_used:
        assert gate.admit("acct", END_USER, str(name), NOW) == str(name)


def test_a_forgotten_name_is_new_again() -> None:
    gate = NameGate(per_hour=10, most_known=4)
    for name in range(10):
        assert gate.admit("acct", END_USER, str(name), NOW) == str(name)
    assert gate.admit("acct", END_USER, "0", NOW) == OTHER
    assert gate.admit("acct", END_USER, "9", NOW) == "9"


def test_names_that_budgets_name_never_become_other() -> None:
    gate = NameGate(per_hour=0)
    gate.pin([(END_USER, "alice"), (tag_kind("team"), "search")])
    assert gate.admit("acct", END_USER, "alice", NOW) == "alice"
    assert gate.admit_tags("acct", {"team": "search"}, {}, NOW) == {"team": "search"}
    gate.pin([])
    assert gate.admit("acct", END_USER, "bob", NOW) == OTHER


def test_new_tags_past_the_bound() -> None:
    """A new value of a known tag becomes `other`; of a new tag the name does too; the key's own tags pass."""
    gate = NameGate(per_hour=1)
    assert gate.admit_tags("acct", {"team": "search"}, {}, NOW) == {"team": "search"}
    sent = {"team": "ads", "made-up": "x", "made-up-2": "y", "env": "prod"}
    assert gate.admit_tags("acct", sent, {"env": "prod"}, NOW) == {"team": OTHER, OTHER: OTHER, "env": "prod"}


def test_the_value_other_opens_no_way_for_new_tag_names() -> None:
    gate = NameGate(per_hour=0)
    made_up = {f"made-up-{number}": OTHER for number in range(5)}
    assert gate.admit_tags("acct", made_up, {}, NOW) == {OTHER: OTHER}
    assert gate.admit_tags("acct", made_up, {}, NOW) == {OTHER: OTHER}


@given(sent=tag_sets, own=tag_sets, per_hour=st.integers(0, 3))
def test_admitted_tags_are_those_sent_or_other(
    sent: dict[str, str], own: dict[str, str], per_hour: int
) -> None:
    admitted = NameGate(per_hour).admit_tags("acct", {**sent, **own}, own, NOW)
    assert admitted.items() >= own.items()
    assert all(
        {**sent, **own}.get(name, OTHER) == value or value == OTHER for name, value in admitted.items()
    )
    assert sum(name not in own and value != OTHER for name, value in admitted.items()) <= per_hour
