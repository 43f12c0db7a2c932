"""The dashboard as a browser without scripts meets it: pages and forms over HTTP."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from tests.e2e.teams import Team
from tests.running import ADMIN_KEY, Gateway, eventually

PAGES = ("", "explore", "live", "budgets", "accounts", "keys", "calls", "prices", "alerts", "live/table")


class Visitor:
    """Somebody with a browser: keeps cookies, fills in forms."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.cookie = ""
        self.headers: dict[str, str] = {}
        self.status = 0

    def get(self, path: str) -> str:
        return self.ask("GET", path)

    def send(self, path: str, **fields: str) -> str:
        """Fill in the form of the page at `path`: with the token that it carries."""
        token = re.search(r'name="token" value="([0-9a-f]+)"', self.get(path))
        return self.ask("POST", path, {**fields, "token": token[1] if token else ""})

    def ask(self, method: str, path: str, form: Mapping[str, str] | None = None, **headers: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=90)
        body = None if form is None else urlencode(form)
        sent = {"cookie": self.cookie, "content-type": "application/x-www-form-urlencoded", **headers}
        connection.request(method, f"/dashboard/{path}", body, sent)
        response = connection.getresponse()
        self.status, self.headers = response.status, {k.lower(): v for k, v in response.getheaders()}
        text = response.read().decode()
        connection.close()
        if "set-cookie" in self.headers:
            self.cookie = self.headers["set-cookie"].partition(";")[0]
        return text

    def login(self, key: str = ADMIN_KEY) -> str:
        return self.ask("POST", "login", {"key": key})


@pytest.fixture
def visitor(gateway: Gateway) -> Visitor:
    visitor = Visitor(gateway)
    visitor.login()
    assert (visitor.status, visitor.headers["location"]) == (303, "/dashboard/")
    return visitor


def test_nobody_sees_a_page_without_a_session(gateway: Gateway) -> None:
    stranger = Visitor(gateway)
    for page in PAGES:
        stranger.get(page)
        assert (stranger.status, stranger.headers["location"]) == (303, "/dashboard/login")
    assert "not known" in stranger.login("not-an-admin-key-at-all")
    assert stranger.status == 401
    assert "Admin key" in stranger.get("login")


def test_every_page_is_there_and_lets_nothing_foreign_in(visitor: Visitor) -> None:
    for page in PAGES:
        visitor.get(page)
        assert visitor.status == 200, page
        assert "default-src 'none'" in visitor.headers["content-security-policy"]
        assert "unsafe" not in visitor.headers["content-security-policy"]
        assert visitor.headers["cache-control"] == "no-store"
    for file in ("style.css", "page.js", "icon.svg"):
        visitor.get(f"static/{file}")
        assert visitor.status == 200


def test_a_key_a_budget_and_a_call_from_the_first_click_to_the_receipt(
    visitor: Visitor, gateway: Gateway
) -> None:
    visitor.send("accounts", name="dash-team", kind="team", cost_center="4711")
    assert visitor.status == 303
    account = gateway.admin.get("/admin/accounts?path=dash-team")["data"][0]["id"]
    visitor.send(
        "budgets", name="dash budget", account=account, cap="2.50", period="month", alert_at="50, 80"
    )
    assert visitor.status == 303
    budget = visitor.headers["location"].rpartition("/")[2].partition("?")[0]
    page = visitor.send("keys", name="first", account=account, models="gpt-4.1*")
    key = re.search(r'<code id="secret">(sk-tg-\w+)</code>', page)
    assert key is not None
    call = gateway.client(key[1]).chat("gpt-4.1", "hello")
    assert call.status == 200
    cost = call.headers["x-tollgate-cost-usd"]
    receipt = visitor.get(f"calls/{call.headers['x-tollgate-call-id']}")
    assert cost in receipt
    assert "price_" in receipt
    assert "dash budget" in receipt
    eventually(
        lambda: f'title="{cost}"' in visitor.get(f"budgets/{budget}"), "the budget shows what was spent"
    )
    assert key[1] not in visitor.get("keys")
    visitor.send(f"budgets/{budget}", do="cap", cap="3.00")
    assert gateway.admin.get(f"/admin/budgets/{budget}")["cap"] == "3"
    visitor.send(f"budgets/{budget}", do="increase", amount="1.00", reason="launch week")
    assert gateway.window(budget)["cap"] == "4"
    assert "launch week" in visitor.get(f"budgets/{budget}")


def test_what_a_form_asks_in_vain_is_said_on_its_page(visitor: Visitor) -> None:
    page = visitor.send("budgets", name="bad", cap="a lot", period="month")
    assert visitor.status == 400
    assert 'role="alert"' in page
    assert "A new budget" in page
    page = visitor.get("explore?group_by=nonsense")
    assert visitor.status == 400
    assert "nonsense" in page
    visitor.get("budgets/bud_unknown")
    assert visitor.status == 404


def test_a_form_from_elsewhere_changes_nothing(visitor: Visitor, gateway: Gateway) -> None:
    before = len(gateway.admin.get("/admin/accounts?limit=1000")["data"])
    visitor.ask("POST", "accounts", {"name": "forged"})
    assert visitor.status == 403
    token = re.search(r'name="token" value="([0-9a-f]+)"', visitor.get("accounts"))
    assert token is not None
    visitor.ask("POST", "accounts", {"name": "forged", "token": token[1]}, origin="https://evil.example")
    assert visitor.status == 403
    assert len(gateway.admin.get("/admin/accounts?limit=1000")["data"]) == before


def test_names_are_text_wherever_they_are_shown(visitor: Visitor, gateway: Gateway) -> None:
    team = Team(gateway, "<script>alert(1)<b>")
    team.make_key(name='"><img src=x onerror=alert(1)>')
    for page in ("accounts", "keys", "budgets"):
        text = visitor.get(page)
        assert "<script>alert" not in text
        assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in visitor.get("accounts")


def test_a_role_may_do_here_what_it_may_do_there(gateway: Gateway) -> None:
    made = gateway.admin.post("/admin/admin-keys", {"name": "reader", "role": "viewer"})
    reader = Visitor(gateway)
    reader.login(made["key"])
    assert reader.status == 303
    reader.send("accounts", name="not by me")
    assert reader.status == 403
    gateway.admin.delete(f"/admin/admin-keys/{made['id']}")
    reader.get("")
    assert (reader.status, reader.headers["location"]) == (303, "/dashboard/login")


def test_what_is_explored_is_the_report(visitor: Visitor, gateway: Gateway) -> None:
    team = Team(gateway, "explorers")
    call = team.client.chat("gpt-4.1", "hello")
    cost = call.headers["x-tollgate-cost-usd"]
    eventually(
        lambda: f">{cost}<" in visitor.get("explore?account=explorers&group_by=key"), "the cost is shown"
    )
    asked = "account=explorers&group_by=model"
    assert (
        visitor.get(f"explore.csv?{asked}").encode()
        == gateway.admin.call("GET", f"/reports/spend?{asked}&format=csv").body
    )
    assert visitor.headers["content-type"].startswith("text/csv")


def test_a_stream_is_seen_while_it_runs(visitor: Visitor, gateway: Gateway) -> None:
    team = Team(gateway, "streamers")
    stream = team.client.stream("gpt-4.1", "hello [[sim: fault=stall after=4]]", max_tokens=50)
    try:
        eventually(lambda: "streamers" in visitor.get("live/table"), "the call is in flight")
    finally:
        stream.close()


def test_an_alert_is_sent_tested_and_sent_again(visitor: Visitor, gateway: Gateway) -> None:
    page = visitor.send("alerts", target="https://93.184.216.34/hook", events="budget.*, key.*")
    assert visitor.status == 200, page
    assert re.search(r'<code id="secret">whsec_', page)
    assert "whsec_" not in visitor.get("alerts")
    hook = gateway.admin.get("/admin/webhooks")["data"][0]["id"]
    visitor.send("alerts", webhook=hook, do="test")
    assert visitor.status == 303
    assert "93.184.216.34" in visitor.get("alerts")
    visitor.send("alerts", webhook=hook, do="disable")
    assert gateway.admin.get(f"/admin/webhooks/{hook}")["status"] == "disabled"
    refused = visitor.send("alerts", target="http://169.254.169.254/latest")
    assert visitor.status == 400
    assert 'role="alert"' in refused
    visitor.send("alerts", webhook=hook, do="remove")
    assert gateway.admin.get("/admin/webhooks")["data"] == []


def test_logging_out_ends_it(visitor: Visitor) -> None:
    visitor.ask("POST", "logout", {})
    visitor.get("")
    assert visitor.status == 303
