"""What goes up is the client's own bytes but for model, output cap and the wish for usage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.openai_chat import FORMAT
from gateway.formats.openai_completions import FORMAT as COMPLETIONS

NEW, OLD = "max_completion_tokens", "max_tokens"
START = '"model":"gpt-4.1","messages":[{"role":"user","content":"Hi"}]'


def up(body: str, *, model: str = "gpt-4.1", cap_field: str = NEW, cap: int = 16) -> str:
    raw = body.encode()
    return FORMAT.upstream_body(raw, FORMAT.read("", raw), model, cap_field, cap).decode()


def test_nothing_to_change_changes_nothing() -> None:
    raw = f'{{{START},"max_completion_tokens":16}}'.encode()
    assert FORMAT.upstream_body(raw, FORMAT.read("", raw), "gpt-4.1", NEW, 16) is raw


@pytest.mark.parametrize(
    ("sent", "cap_field", "goes_up"),
    [
        # None named: the field the model accepts.
        ("", NEW, '"max_completion_tokens":16,'),
        ("", OLD, '"max_tokens":16,'),
        # Named in the model's own field: lowered, never raised.
        (',"max_completion_tokens": 99', NEW, ',"max_completion_tokens": 16'),
        (',"max_completion_tokens":9', NEW, ',"max_completion_tokens":9'),
        (',"max_tokens":99', OLD, ',"max_tokens":16'),
        (',"max_completion_tokens":null', NEW, ',"max_completion_tokens":16'),
        # Named in the other field, which this model takes as well.
        (',"max_tokens":99', NEW, ',"max_tokens":16'),
        (',"max_tokens":9', NEW, ',"max_tokens":9'),
        # Named in a field that this upstream may never have heard of.
        (',"max_completion_tokens" : 99', OLD, ',"max_tokens" : 16'),
        (',"max_completion_tokens" : 9', OLD, ',"max_tokens" : 9'),
        # Both named: the provider obeys one, so both hold.
        (',"max_tokens":99,"max_completion_tokens":50', NEW, ',"max_tokens":16,"max_completion_tokens":16'),
        (',"max_tokens":null,"max_completion_tokens":9', NEW, ',"max_tokens":null,"max_completion_tokens":9'),
        # A key may be written with escapes.
        (',"max\\u005ftokens":99', OLD, ',"max\\u005ftokens":16'),
    ],
)
def test_the_output_cap(sent: str, cap_field: str, goes_up: str) -> None:
    spliced = up(f"{{{START}{sent}}}", cap_field=cap_field)
    if sent:
        assert spliced == f"{{{START}{goes_up}}}"
    else:
        assert spliced == f"{{{goes_up}{START}}}"


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5.2-mini", "openai/gpt-6"])
def test_reasoning_models_refuse_the_old_field(model: str) -> None:
    body = f'{{{START.replace("gpt-4.1", model)},"max_tokens":99}}'
    assert up(body, model=model).endswith(',"max_completion_tokens":16}')


def test_a_null_changes_places_with_the_field_that_must_move() -> None:
    """Renaming alone would name one key twice, and the null might be the one that counts."""
    body = f'{{{START},"max_tokens":null,"max_completion_tokens":%s}}'
    assert up(body % 99, cap_field=OLD) == (body % "null").replace("null", "16", 1)
    assert up(body % 9, cap_field=OLD) == (body % "null").replace("null", "9", 1)


def test_the_other_field_null_leaves_room_for_the_models_own() -> None:
    assert up(f'{{{START},"max_tokens":null}}') == f'{{"max_completion_tokens":16,{START},"max_tokens":null}}'


@pytest.mark.parametrize(
    ("sent", "goes_up"),
    [
        (',"stream_options":null', ',"stream_options":{"include_usage":true}'),
        (',"stream_options":{}', ',"stream_options":{"include_usage":true}'),
        (',"stream_options":{ }', ',"stream_options":{"include_usage":true }'),
        (
            ',"stream_options":{"x":{"include_usage":false}}',
            ',"stream_options":{"include_usage":true,"x":{"include_usage":false}}',
        ),
        (
            ',"stream_options": {"include_usage" : false,"x":1}',
            ',"stream_options": {"include_usage" : true,"x":1}',
        ),
        (',"stream_options":{"include_usage":null}', ',"stream_options":{"include_usage":true}'),
        (',"stream_options":{"include_usage":true}', ',"stream_options":{"include_usage":true}'),
    ],
)
def test_usage_is_asked_for(sent: str, goes_up: str) -> None:
    cap = ',"max_completion_tokens":16,"stream":true'
    assert up(f"{{{START}{cap}{sent}}}") == f"{{{START}{cap}{goes_up}}}"


def test_usage_is_asked_for_where_no_options_were_sent() -> None:
    rest = f'{START},"stream":true,"max_completion_tokens":16'
    assert up(f"{{ {rest}}}") == f'{{"stream_options":{{"include_usage":true}}, {rest}}}'


@pytest.mark.parametrize("stream", ["", ',"stream":false', ',"stream":null'])
def test_usage_is_not_asked_of_what_is_no_stream(stream: str) -> None:
    body = f'{{{START},"max_completion_tokens":16{stream},"stream_options":{{"include_usage":false}}}}'
    assert up(body) == body


def test_an_aliased_model_is_renamed() -> None:
    body = (
        '{"messages":[{"role":"user","content":"gpt-4.1"}], "model" : "gpt-4.1" ,"max_completion_tokens":16}'
    )
    renamed = up(body, model='größe "x"')
    assert renamed == body.replace(' : "gpt-4.1"', ' : "größe \\"x\\""')


def test_a_completion_knows_one_cap_only() -> None:
    raw = b'{"model":"m","prompt":"Hi","max_completion_tokens":"mine"}'
    body = COMPLETIONS.upstream_body(raw, COMPLETIONS.read("", raw), "m", NEW, 16)
    assert body == b'{"max_tokens":16,"model":"m","prompt":"Hi","max_completion_tokens":"mine"}'


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EXTRAS = st.dictionaries(
    st.sampled_from(["temperature", "x", "größe", "metadata", "stop", "seed"]),
    st.none()
    | st.integers()
    | TEXTS
    | st.lists(TEXTS, max_size=2)
    | st.dictionaries(TEXTS, TEXTS, max_size=2),
)


@given(
    text=TEXTS,
    extras=EXTRAS,
    caps=st.dictionaries(st.sampled_from([NEW, OLD]), st.none() | st.integers(0, 99)),
    stream=st.none() | st.booleans(),
    options=st.none()
    | st.dictionaries(st.sampled_from(["include_usage", "include_obfuscation"]), st.booleans()),
    order=st.randoms(use_true_random=False),
    style=st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}]),
    cap_field=st.sampled_from([NEW, OLD]),
    cap=st.integers(0, 50),
    model=st.sampled_from(["m", "other"]),
)
def test_the_spliced_body_says_the_same_but_for_the_changed_members(
    text: str,
    extras: dict[str, Any],
    caps: dict[str, int | None],
    stream: bool | None,
    options: dict[str, bool] | None,
    order: Any,
    style: dict[str, Any],
    cap_field: str,
    cap: int,
    model: str,
) -> None:
    members = [
        ("model", "m"),
        ("messages", [{"role": "user", "content": text}]),
        ("stream", stream),
        ("stream_options", options),
        *extras.items(),
        *caps.items(),
    ]
    order.shuffle(members)
    before = dict(members)
    raw = json.dumps(before, **style).encode()
    after = json.loads(FORMAT.upstream_body(raw, FORMAT.read("", raw), model, cap_field, cap))
    assert after.pop("model") == model
    asked = [value for value in caps.values() if value is not None]
    named = [after[field] for field in (NEW, OLD) if after.get(field) is not None]
    assert named
    assert max(named) <= max(cap, 0)
    assert min(named) == min([*asked, cap])
    if cap_field == OLD:
        assert after.get(OLD) is not None
    wished = after.pop("stream_options")
    assert wished == ({**(options or {}), "include_usage": True} if stream else options)
    for field in (NEW, OLD, "model", "stream_options"):
        before.pop(field, None)
        after.pop(field, None)
    assert list(after.items()) == list(before.items())
