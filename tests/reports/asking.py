"""Asks a report as the route does, without HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Engine

import gateway.reports
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.registry import scan
from gateway.reports import delivery
from gateway.reports.base import Report
from gateway.reports.currencies import in_currency
from gateway.reports.parameters import parse
from gateway.reports.visibility import Principal
from tests.reports.book import EPOCH, instant

NOW_US = instant("2026-11-08T10:07:33Z")
AS_OF_US = instant("2026-11-08T10:07:30Z")
REPORTS: dict[str, Report] = scan(gateway.reports, "REPORT")
ADMIN = AdminKey("akey_1", "viewer", "viewer", b"", "", 0, None, 1)


def virtual_key(key: str, account: str, *, sees_account: bool = False) -> VirtualKey:
    """A virtual key as the directory knows it."""
    return VirtualKey(
        id=key,
        account=account,
        name=key,
        fingerprint=b"",
        hint="",
        models=None,
        max_output_tokens=None,
        on_over_cap="clamp",
        require_end_user=False,
        sees_account=sees_account,
        tags={},
        metadata={},
        status="active",
        expires_at_us=None,
        created_at_us=0,
        revoked_at_us=None,
        rotated_to=None,
        revision=1,
    )


def ask(
    engine: Engine,
    name: str,
    parameters: Mapping[str, str],
    *,
    principal: Principal = ADMIN,
    now_us: int = NOW_US,
) -> bytes:
    """The whole answer."""
    query = parse(REPORTS[name], parameters.items(), now_us)
    report = in_currency(REPORTS[name], query)
    with engine.connect() as conn:
        written = delivery.write(conn, report, query, principal, lambda conn: AS_OF_US)
    with written.file as file:
        return file.read()


def ask_json(
    engine: Engine,
    name: str,
    parameters: Mapping[str, str],
    *,
    principal: Principal = ADMIN,
    now_us: int = NOW_US,
) -> Any:
    """The answer as JSON."""
    return msgspec.json.decode(ask(engine, name, parameters, principal=principal, now_us=now_us))


def ask_csv(engine: Engine, name: str, parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of the answer as CSV."""
    text = ask(engine, name, {**parameters, "format": "csv"}).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def us(text: str) -> int:
    """Microseconds of a printed instant."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def nano(text: str) -> int:
    """Nano-USD of a printed amount, by decimal arithmetic."""
    amount = Decimal(text) * 10**9
    assert amount == int(amount), f"{text} has more digits than a nano-USD"
    return int(amount)
