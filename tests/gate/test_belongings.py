"""Whose is what a call names: the maker's, everybody's, another's, nobody's."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.domain.errors import NotFound
from gateway.gate.belongings import LOOKS, LOOKS_UNKNOWN_ALLOWED, Belongings
from gateway.store.engine import Database
from tests.gate.playbook import Cellar


@pytest.fixture
def cellar() -> Cellar:
    return Cellar()


def known_to(cellar: Cellar, *shared: str, allows_unknown: bool = False) -> Belongings:
    return Belongings(cast(Database, cellar), shared, allows_unknown=allows_unknown)


async def test_what_was_made_here_is_known_at_once(cellar: Cellar) -> None:
    belongings = known_to(cellar)
    belongings.keep("openai", ["resp_1", "msg_1"], "acct_1")
    assert belongings.has("openai", ["resp_1", "msg_1"], "acct_1")
    assert not belongings.has("openai", ["resp_1"], "acct_2")
    assert not belongings.has("other", ["resp_1"], "acct_1")  # an id means something at its provider only
    await belongings.check("openai", ["resp_1"], "acct_1")
    assert cellar.looks == 0


async def test_what_was_made_elsewhere_is_asked_once(cellar: Cellar) -> None:
    cellar.owners["resp_1"] = "acct_1"
    belongings = known_to(cellar)
    await belongings.check("openai", ["resp_1"], "acct_1")
    await belongings.check("openai", ["resp_1"], "acct_1")
    assert cellar.looks == 1


@pytest.mark.parametrize("owner", ["acct_2", None])
async def test_anothers_is_refused_like_nobodys(cellar: Cellar, owner: str | None) -> None:
    """In the same words and after as many looks: neither tells that the thing exists."""
    if owner:
        cellar.owners["resp_1"] = owner
    belongings = known_to(cellar)
    for _ in range(2):
        cellar.looks = 0
        with pytest.raises(NotFound) as refused:
            await belongings.check("openai", ["resp_1"], "acct_1")
        assert refused.value.message == "There is no 'resp_1' of yours."
        assert cellar.looks == LOOKS


async def test_the_one_that_is_not_theirs_is_named(cellar: Cellar) -> None:
    cellar.owners.update(resp_1="acct_1", file_1="acct_2")
    with pytest.raises(NotFound, match="file_1"):
        await known_to(cellar).check("openai", ["resp_1", "file_1"], "acct_1")


async def test_what_is_shared_is_everybodys(cellar: Cellar) -> None:
    belongings = known_to(cellar, "vs_1")
    assert belongings.has("openai", ["vs_1"], "acct_1")
    assert belongings.has("openai", ["vs_1"], "acct_2")


async def test_unknown_ids_may_be_let_pass_but_never_anothers(cellar: Cellar) -> None:
    belongings = known_to(cellar, allows_unknown=True)
    await belongings.check("openai", ["file_1"], "acct_1")
    assert cellar.looks == LOOKS_UNKNOWN_ALLOWED
    cellar.owners["resp_1"] = "acct_2"
    with pytest.raises(NotFound):
        await belongings.check("openai", ["file_1", "resp_1"], "acct_1")


async def test_what_is_posted_meanwhile_is_found(cellar: Cellar) -> None:
    class Late(Cellar):
        async def read(self, fn: object, upstream: str, ids: object) -> dict[str, str]:
            self.looks += 1
            return {"resp_1": "acct_1"} if self.looks == 3 else {}

    late = Late()
    await Belongings(cast(Database, late)).check("openai", ["resp_1"], "acct_1")
    assert late.looks == 3


async def test_the_first_who_was_told_an_id_keeps_it(cellar: Cellar) -> None:
    belongings = known_to(cellar)
    belongings.keep("openai", ["resp_1"], "acct_1")
    belongings.keep("openai", ["resp_1"], "acct_2")
    assert belongings.has("openai", ["resp_1"], "acct_1")
