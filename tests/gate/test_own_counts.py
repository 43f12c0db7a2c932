"""Counts that the gateway makes itself, and those that it leaves to a provider."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from gateway.domain.errors import Forbidden, NotFound, Unauthenticated
from gateway.formats.anthropic_count_tokens import FORMAT as COUNT
from gateway.gate.counting import Counters
from gateway.gate.inbound import InboundCall
from gateway.gate.own_counts import OwnCounts
from tests.formats.conftest import table_of
from tests.gate.making import NOON_US, caller, inbound
from tests.gate.test_wording import both


def asked(model: str) -> InboundCall:
    body = b'{"model":"%b","messages":[{"role":"user","content":"The sea is wide."}]}' % model.encode()
    return InboundCall(COUNT, COUNT.paths[0], [], body)


def counts() -> OwnCounts:
    return OwnCounts(both(), cast(Counters, None))


def test_a_model_whose_provider_counts_is_left_to_it() -> None:
    assert counts().model_of(caller(), asked("claude-sonnet-5"), NOON_US) is None
    assert counts().model_of(caller(), asked("gpt-4.1"), NOON_US) == "gpt-4.1"
    assert counts().model_of(caller(), inbound(), NOON_US) is None


def test_who_may_not_use_a_model_may_not_count_for_it() -> None:
    with pytest.raises(Forbidden):
        counts().model_of(caller(models=["gpt-4o*"]), asked("gpt-4.1"), NOON_US)
    with pytest.raises(Unauthenticated):
        counts().model_of(caller(status="revoked"), asked("gpt-4.1"), NOON_US)
    with pytest.raises(NotFound):
        counts().model_of(caller(), asked("nobody-knows"), NOON_US)


async def test_the_text_is_counted() -> None:
    told = msgspec.json.decode(await OwnCounts(both(), Counters(table_of)).body("gpt-4.1", asked("gpt-4.1")))
    assert 5 <= told["input_tokens"] <= 20
