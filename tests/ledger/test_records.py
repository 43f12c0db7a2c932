"""Records and frames: any record survives, any torn tail ends the reading and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.records import (
    CHECK,
    CLOSE,
    CORRECT,
    HEADER,
    OPEN,
    CallFacts,
    Check,
    Close,
    Closing,
    Correct,
    Header,
    Open,
    Record,
    decode,
    encode,
    frames,
    interrupted,
)

amounts = st.integers(-(1 << 63), (1 << 63) - 1)
words = st.text(max_size=20)
meters = st.dictionaries(words, amounts, max_size=3)
lines = st.lists(st.tuples(words, amounts, words, amounts, amounts, amounts), max_size=3)
units = st.sampled_from(["usd", "tokens", "requests", "concurrent"])
parts = st.lists(st.tuples(amounts, units, st.none() | amounts), max_size=3)
posted = st.lists(st.tuples(amounts, amounts, st.none() | amounts), max_size=3)
facts = st.builds(
    CallFacts,
    attempt=words,
    call=words,
    key=words,
    account=words,
    end_user=st.none() | words,
    tags=st.dictionaries(words, words, max_size=3),
    provider=words,
    upstream=words,
    model=words,
    format=words,
    streamed=st.booleans(),
    admitted_at_us=amounts,
    hold_nano=amounts,
    usage=meters,
    charge_nano=amounts,
    tokens=amounts,
    lines=lines,
    list_nano=amounts,
    claim=st.none() | words,
)
closings = st.builds(
    Closing,
    outcome=words,
    status=st.none() | amounts,
    served_model=st.none() | words,
    usage=meters,
    usage_source=words,
    raw_usage=st.none() | st.binary(max_size=50),
    lines=lines,
    flags=st.lists(words, max_size=3),
    charge_nano=amounts,
    list_nano=amounts,
    tokens=amounts,
    closed_at_us=amounts,
    requests=amounts,
    made=st.lists(words, max_size=3),
    awaited=words,
)
checks = st.builds(
    Check,
    attempt=words,
    usage=meters,
    charge_nano=amounts,
    tokens=amounts,
    lines=lines,
    list_nano=amounts,
    hold_nano=amounts,
    parts=parts,
    made=st.lists(words, max_size=3),
    awaited=words,
)
records = st.one_of(
    st.tuples(st.just(HEADER), st.builds(Header, words, words, words, words, st.integers(0, 9))),
    st.tuples(st.just(OPEN), st.builds(Open, facts, parts)),
    st.tuples(st.just(CHECK), checks),
    st.tuples(st.just(CLOSE), st.builds(Close, facts, closings, amounts, posted)),
    st.tuples(st.just(CORRECT), st.builds(Correct, words, words, facts, closings, posted, words)),
)


@given(st.lists(records, max_size=5))
def test_every_record_comes_back(written: list[tuple[int, Record]]) -> None:
    data = b"".join(encode(seq, kind, record) for seq, (kind, record) in enumerate(written))
    read = list(frames(data))
    assert [(frame.kind, decode(frame.raw)) for frame in read] == written
    assert [frame.seq for frame in read] == list(range(len(written)))
    assert b"".join(frame.raw for frame in read) == data


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_torn_tail_ends_the_reading(written: list[tuple[int, Record]], data: st.DataObject) -> None:
    whole = [encode(seq, kind, record) for seq, (kind, record) in enumerate(written)]
    cut = data.draw(st.integers(0, len(whole[-1]) - 1))
    assert [frame.raw for frame in frames(b"".join(whole[:-1]) + whole[-1][:cut])] == whole[:-1]


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_damaged_record_ends_the_reading(written: list[tuple[int, Record]], data: st.DataObject) -> None:
    whole = [encode(seq, kind, record) for seq, (kind, record) in enumerate(written)]
    hurt = data.draw(st.integers(0, len(whole) - 1))
    place = data.draw(st.integers(0, len(whole[hurt]) - 1))
    flipped = bytearray(whole[hurt])
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    read = list(frames(b"".join([*whole[:hurt], bytes(flipped), *whole[hurt + 1 :]])))
    assert [frame.raw for frame in read] == whole[:hurt]


@given(st.binary(max_size=200))
def test_garbage_is_no_record(data: bytes) -> None:
    assert list(frames(b"\x01" + data)) == []


@given(st.builds(Open, facts, parts), st.none() | checks)
def test_an_interrupted_call_costs_what_its_last_checkpoint_says(opened: Open, check: Check | None) -> None:
    closing = interrupted(opened, check, 5)
    last = check or opened.facts
    assert (closing.charge_nano, closing.tokens, closing.usage) == (last.charge_nano, last.tokens, last.usage)
    assert closing.outcome == "interrupted"
    assert "estimated" in closing.flags
