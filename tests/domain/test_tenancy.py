"""Accounts and keys as values."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.tenancy import Account, VirtualKey

ACCOUNT = Account("acct_1", "a", "a", None, "team", None, "UTC", {}, "active", 0, None, 1)
KEY = VirtualKey(
    id="key_1",
    account="acct_1",
    name="ci",
    fingerprint=b"f",
    hint="sk-tg-...abcd",
    models=None,
    max_output_tokens=None,
    on_over_cap="clamp",
    require_end_user=False,
    sees_account=False,
    tags={},
    metadata={},
    status="active",
    expires_at_us=None,
    created_at_us=0,
    revoked_at_us=None,
    rotated_to=None,
    revision=1,
)


def test_an_account_is_active_unless_blocked_or_deleted() -> None:
    assert ACCOUNT.is_active
    assert not replace(ACCOUNT, status="blocked").is_active
    assert not replace(ACCOUNT, deleted_at_us=5).is_active


def test_a_key_ends_at_the_instant_of_its_expiry() -> None:
    assert not KEY.is_expired(2**62)
    ending = replace(KEY, expires_at_us=100)
    assert [ending.is_expired(at_us) for at_us in (99, 100, 101)] == [False, True, True]


def test_an_old_text_is_charged_to_its_key() -> None:
    assert KEY.charged_to == "key_1"
    assert replace(KEY, id="key_2", rotated_to="key_1").charged_to == "key_1"
