"""The dashboard in a real browser: what somebody does with it, and whether everybody can."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.browser.devtools import Browser, browser
from tests.running import ADMIN_KEY, Gateway, eventually, running

pytestmark = pytest.mark.slow

PAGES = (
    "",
    "explore?bucket=day&group_by=account",
    "live",
    "budgets",
    "accounts",
    "keys",
    "calls",
    "prices",
    "alerts",
)
WIDTHS = (1440, 390)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with an account, a key that has made calls, and a budget."""
    with SimulatedProviders() as providers, running(tmp_path_factory.mktemp("gateway"), providers) as process:
        account = process.account("acme")
        process.budget("5", account=account, name="acme, this month")
        client = process.client(process.key(account, name="first"))
        for _ in range(3):
            assert client.chat("gpt-4.1", "hello").status == 200
        eventually(lambda: len(process.admin.get("/reports/calls")["rows"]) == 3, "the calls are posted")
        yield process


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as page:
        yield page


@pytest.fixture
def page(opened: Browser, gateway: Gateway) -> Browser:
    """The browser, logged in."""
    opened.size(WIDTHS[0])
    opened.complaints.clear()
    opened.go(f"{gateway.url}/dashboard/login")
    opened.fill("[name=key]", ADMIN_KEY)
    opened.click("main button")
    sees(opened, "Spent this month")
    return opened


def text(page: Browser) -> str:
    return str(page.run("(document.querySelector('main') ?? document.body).innerText"))


def sees(page: Browser, words: str) -> None:
    """Wait until the page says this; one page may be giving way to the next meanwhile."""

    def look() -> bool:
        try:
            return words in text(page)
        except AssertionError:
            return False

    eventually(look, f"the page says {words!r}")


def test_from_login_to_the_spend_of_a_new_key(page: Browser, gateway: Gateway) -> None:
    page.go(f"{gateway.url}/dashboard/keys")
    page.fill("form.filters [name=name]", "from the browser")
    page.click("form.filters button")
    sees(page, "It is shown this once")
    key = str(page.run("document.querySelector('#secret').textContent"))
    page.go(f"{gateway.url}/dashboard/budgets")
    page.fill("form.filters [name=name]", "browser budget")
    page.fill("form.filters [name=cap]", "1.50")
    page.click("form.filters button")
    sees(page, "The budget is there.")
    call = gateway.client(key).chat("gpt-4.1", "hello")
    cost = call.headers["x-tollgate-cost-usd"]
    page.go(f"{gateway.url}/dashboard/calls/{call.headers['x-tollgate-call-id']}")
    assert cost in text(page)
    assert page.complaints == []


def test_a_stream_is_watched_live_without_loading_the_page_again(page: Browser, gateway: Gateway) -> None:
    page.go(f"{gateway.url}/dashboard/live")
    assert "No call is in flight" in text(page)
    account = gateway.account("streamers")
    prompt = "hello [[sim: fault=stall after=20]]"
    stream = gateway.client(gateway.key(account)).stream("gpt-4.1", prompt, max_tokens=400)
    try:
        sees(page, "streamers")
        sees(page, "1 in flight")
    finally:
        stream.close()
    assert page.complaints == []


def test_what_cannot_be_undone_is_asked_first(page: Browser, gateway: Gateway) -> None:
    page.go(f"{gateway.url}/dashboard/keys")
    page.run("window.confirm = (question) => { window.asked = question; return false; }")
    page.run("document.querySelector('button[value=revoke]').click()")
    assert "cannot be undone" in page.run("window.asked")
    assert page.run("location.pathname") == "/dashboard/keys"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_nothing_serious_stands_in_anybodys_way(
    page: Browser, gateway: Gateway, path: str, scheme: str, tmp_path: Path
) -> None:
    """axe-core's rules of WCAG 2 A and AA; and at no width does a page scroll sideways."""
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.command("Page.setBypassCSP", enabled=True)  # for axe alone: the pages were tested with their policy
    for width in WIDTHS:
        page.size(width)
        page.go(f"{gateway.url}/dashboard/{path}")
        assert page.run("document.documentElement.scrollWidth") <= width
        page.picture(tmp_path / f"{width}.png")
        page.run((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + "; true")
        found: list[dict[str, Any]] = page.run("axe.run().then((result) => result.violations)")
        serious = [
            (each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == []
    page.command("Page.setBypassCSP", enabled=False)
