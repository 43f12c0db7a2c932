"""What `tollgate doctor` looks at. Each look returns findings and raises nothing; none changes anything."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import gateway.providers
from gateway.cli.client import CommandFailed
from gateway.cli.session import Session
from gateway.providers.base import Provider
from gateway.registry import scan
from gateway.settings import Settings, SettingsError, load
from gateway.store.condition import condition

__all__ = ["Finding", "examine"]

US_PER_S: Final = 1_000_000
DAY_S: Final = 86_400
LEAST_FREE_BYTES: Final = 2 * 1024**3
OLDEST_PRICES_S: Final = 45 * DAY_S
MOST_SKEW_S: Final = 2
PROVIDER_LIMIT_S: Final = 10
# Where a provider lists its models: asking costs nothing, and tells whether the credential is good.
MODELS_PATHS: Final = {"anthropic": "/v1/models", "gemini": "/v1beta/models"}


class Finding(NamedTuple):
    """One thing that was looked at; `state` is ok, warning or problem."""

    check: str
    state: str
    found: str
    cure: str = ""


def examine(session: Session, config: str | None) -> list[Finding]:
    """Everything, in the order in which a start would need it."""
    try:
        settings = load(session.environ, config or session.environ.get("TOLLGATE_CONFIG"))
    except SettingsError as error:
        return [Finding("configuration", "problem", str(error), "Correct the setting it names.")]
    folder = Path(settings.server.data_dir)
    return [
        Finding("configuration", "ok", "every setting is valid"),
        *disk(folder),
        *database(settings),
        *left_journals(folder),
        *providers(settings),
        *running(session),
    ]


def disk(folder: Path) -> Iterator[Finding]:
    """Is there a place for journals, and room in it?"""
    place = folder if folder.exists() else folder.absolute().parent
    if not os.access(place, os.W_OK):
        yield Finding(
            "disk", "problem", f"{place} cannot be written to", "Give the gateway's user the folder."
        )
        return
    free = shutil.disk_usage(place).free
    state = "ok" if free >= LEAST_FREE_BYTES else "warning"
    cure = "" if state == "ok" else "Make room: a full disk refuses calls rather than losing them."
    yield Finding("disk", state, f"{free / 1024**3:,.1f} GiB free for {folder}", cure)


def database(settings: Settings) -> Iterator[Finding]:
    """Is it there, up to date, on our time, and does it know prices?"""
    seen = condition(settings.database_url)
    if seen.version is None:
        yield Finding("database", "problem", seen.failure, "Start it, or correct database.url.")
        return
    if seen.version.is_behind:
        found = f"at {seen.version.current or 'nothing'}, this release brings {seen.version.head}"
        yield Finding("database", "warning", found, "`tollgate db upgrade`, or start the gateway.")
        return
    yield Finding("database", "ok", f"reached, at {seen.version.current}")
    if seen.now_us is not None:
        yield clock(round(seen.now_us / US_PER_S - time.time(), 1))
    yield fresh_prices(seen.newest_price_us, seen.prices)


def clock(ahead_s: float) -> Finding:
    """Our clock beside the database's: charges are booked by ours."""
    if abs(ahead_s) <= MOST_SKEW_S:
        return Finding("clock", "ok", "as the database's")
    return Finding(
        "clock", "problem", f"{ahead_s:+} s off the database's", "Synchronise both machines (NTP)."
    )


def fresh_prices(newest_us: int | None, count: int) -> Finding:
    """Are there prices, and when did the last ones come?"""
    if newest_us is None:
        return Finding("prices", "warning", "none yet", "They are filled at the first start.")
    age_days = int(time.time() - newest_us / US_PER_S) // DAY_S
    found = f"{count:,} rows, the newest {age_days} days old"
    if age_days * DAY_S <= OLDEST_PRICES_S:
        return Finding("prices", "ok", found)
    return Finding("prices", "warning", found, "Update genai-prices and run `tollgate prices import`.")


def left_journals(folder: Path) -> Iterator[Finding]:
    """Journals whose worker is gone and which nobody has posted yet."""
    living, left = 0, []
    for lock in sorted(folder.glob("journals/*/lock")):
        handle = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.append(lock.parent.name)
        except BlockingIOError:
            living += 1
        finally:
            os.close(handle)
    if left:
        cure = "A running gateway posts them by itself; start one here."
        yield Finding("journals", "warning", f"not posted yet: {', '.join(left)}", cure)
    else:
        yield Finding("journals", "ok", f"{living} in use, none left behind")


def providers(settings: Settings) -> Iterator[Finding]:
    """Can each provider that is on be reached, and does it take our credential?"""
    known: dict[str, Provider] = scan(gateway.providers, "PROVIDER")
    on = {name: given for name, given in settings.providers.items() if given.credential}
    if not on:
        yield Finding("providers", "problem", "none is on", "Set a credential, such as OPENAI_API_KEY.")
    for name, given in on.items():
        provider = known.get(name) or known["openai_compatible"]
        base_url = given.base_url or provider.base_url
        headers = {key.decode(): value.decode() for key, value in provider.authorize(given.credential)}
        headers |= {key.decode(): value.decode() for key, value in provider.default_headers}
        yield reached(f"provider {name}", base_url, MODELS_PATHS.get(name, "/models"), headers)


def reached(check: str, base_url: str, path: str, headers: dict[str, str]) -> Finding:
    """Ask a provider for its models."""
    parts = urlsplit(base_url)
    began = time.monotonic()
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PROVIDER_LIMIT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
        status = connection.getresponse().status
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        return Finding(check, "problem", f"{base_url}: {error}", "Look at the network, the proxy, base_url.")
    finally:
        connection.close()
    took = f"{base_url} answers in {(time.monotonic() - began) * 1000:.0f} ms"
    if status in (401, 403):
        return Finding(check, "problem", f"{took}: status {status}", "It refuses the credential: renew it.")
    return Finding(check, "ok", took)


def running(session: Session) -> Iterator[Finding]:
    """Is a gateway running here, and what does it say?"""
    try:
        said = session.client().get("/readyz")
    except CommandFailed as failure:
        yield Finding("gateway", "warning", failure.message, failure.hint)
        return
    reasons = said.get("reasons") or []
    state = "warning" if reasons else "ok"
    yield Finding("gateway", state, f"{session.url} takes calls{': ' if reasons else ''}{'; '.join(reasons)}")
