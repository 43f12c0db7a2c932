"""Usage and costs in the providers' shapes: read by the official SDK, and equal to the plain values."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import uvicorn
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request

from gateway.api.front import answer_error
from gateway.api.reports import Deps
from gateway.api.vendor_reports import routes
from gateway.clock import DrivenClock
from gateway.domain.errors import GatewayError, Unauthenticated
from gateway.domain.usage import INPUT_METERS, OUTPUT_METERS
from gateway.reports.anthropic_usage import cents
from gateway.reports.visibility import Principal
from gateway.store.engine import Database
from tests.databases import postgres, sqlite_template
from tests.reports.asking import ADMIN, AS_OF_US, NOW_US, virtual_key
from tests.reports.book import Entry, instant
from tests.reports.conftest import Book, book

__all__ = ["book", "postgres", "sqlite_template"]

PRINCIPALS: dict[str, Principal] = {"admin": ADMIN, "key": virtual_key("key_b", "acct_search")}
START, END = "2026-10-20T00:00:00Z", "2026-11-05T00:00:00Z"
SECONDS = {"start_time": instant(START) // 10**6, "end_time": instant(END) // 10**6}
TIMES = {"starting_at": START, "ending_at": END}


async def authenticate(request: Request) -> Principal:
    text = request.headers.get("x-api-key") or request.headers["authorization"].removeprefix("Bearer ")
    if text not in PRINCIPALS:
        raise Unauthenticated("invalid_api_key", "Unknown.", hint="Use another.")
    return PRINCIPALS[text]


@pytest.fixture(scope="module")
def port(book: Book) -> Iterator[int]:
    """A server with these routes."""
    database = Database(book.url.replace("+psycopg", ""))
    deps = Deps(database, DrivenClock(NOW_US), authenticate, lambda conn: AS_OF_US)
    app = Starlette(routes=list(routes(deps)), exception_handlers={GatewayError: answer_error})
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
        assert thread.is_alive(), "the server did not start"
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
    asyncio.run(database.stop())


def ask(port: int, path: str, parameters: Any, key: str = "admin") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"{path}?{urlencode(parameters, doseq=True)}", headers={"x-api-key": key})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, msgspec.json.decode(body)


def pages(port: int, path: str, parameters: dict[str, Any], key: str = "admin") -> list[Any]:
    """Every bucket, page by page."""
    found, page = [], None
    while True:
        status, answer = ask(port, path, {**parameters, **({"page": page} if page else {})}, key)
        assert status == 200, answer
        found += answer["data"]
        page = answer["next_page"]
        assert answer["has_more"] == (page is not None)
        if page is None:
            return found


def within(book: Book) -> list[Entry]:
    return [each for each in book.entries if instant(START) <= each.at_us < instant(END)]


def units(entries: list[Entry], meters: tuple[str, ...]) -> int:
    return sum(meter.quantity for each in entries for name, meter in each.meters.items() if name in meters)


def test_openai_usage_adds_up_and_the_sdk_reads_it(book: Book, port: int) -> None:
    client = OpenAI(api_key="admin", admin_api_key="admin", base_url=f"http://127.0.0.1:{port}/v1")
    entered = calls = left = buckets = 0
    page: Any = {}
    while True:
        answer = client.admin.organization.usage.completions(
            start_time=SECONDS["start_time"],
            end_time=SECONDS["end_time"],
            group_by=["model", "project_id"],
            limit=5,
            **page,
        )
        for bucket in answer.data:
            buckets += 1
            for result in bucket.results:
                assert result.object == "organization.usage.completions.result"
                entered += result.input_tokens
                left += result.output_tokens
                calls += result.num_model_requests
                assert result.model
                assert (result.project_id or "").startswith("acct_")
        if not answer.has_more:
            break
        page = {"page": answer.next_page}
    entries = within(book)
    assert buckets == 16
    assert calls == sum(each.calls for each in entries)
    assert (entered, left) == (units(entries, INPUT_METERS), units(entries, OUTPUT_METERS))


def test_openai_costs_add_up(book: Book, port: int) -> None:
    for groups in ([], ["line_item"], ["project_id", "api_key_id"]):
        found = pages(port, "/v1/organization/costs", {**SECONDS, "group_by[]": groups})
        total = sum(round(each["amount"]["value"] * 10**9) for day in found for each in day["results"])
        assert total == sum(each.cost for each in within(book))


def test_anthropic_usage_adds_up(book: Book, port: int) -> None:
    found = pages(port, "/v1/organizations/usage_report/messages", {**TIMES, "group_by[]": ["model"]})
    results = [each for day in found for each in day["results"]]
    entries = within(book)
    assert sum(each["uncached_input_tokens"] for each in results) == units(entries, ("input",))
    assert sum(each["cache_read_input_tokens"] for each in results) == units(entries, ("cache_read",))
    assert sum(each["output_tokens"] for each in results) == units(entries, OUTPUT_METERS)
    searches = sum(each["server_tool_use"]["web_search_requests"] for each in results)
    assert searches == units(entries, ("web_search",))


def test_anthropic_costs_add_up_in_cents(book: Book, port: int) -> None:
    asked = {**TIMES, "group_by[]": ["description"], "limit": 31}
    found = pages(port, "/v1/organizations/cost_report", asked)
    amounts = [each["amount"] for day in found for each in day["results"]]
    assert all(isinstance(amount, str) for amount in amounts)
    total = sum(_nano(amount) for amount in amounts)
    assert total == sum(each.cost for each in within(book))


def _nano(amount: str) -> int:
    whole, _, fraction = amount.lstrip("-").partition(".")
    return (-1 if amount.startswith("-") else 1) * int(whole + fraction.ljust(7, "0"))


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0"), (10_000_000, "1"), (1_234_567_890, "123.456789"), (-1, "-0.0000001")]
)
def test_cents(nano: int, text: str) -> None:
    assert cents(nano) == text


def test_filters_and_what_a_key_sees(book: Book, port: int) -> None:
    asked = {**SECONDS, "bucket_width": "1h", "limit": 168, "models[]": ["gpt-4.1", "gpt-4.1-mini"]}
    found = pages(port, "/v1/organization/usage/completions", asked, key="key")
    mine = [each for each in within(book) if each.key == "key_b" and each.model.startswith("gpt-4.1")]
    calls = sum(each["num_model_requests"] for hour in found for each in hour["results"])
    assert calls == sum(each.calls for each in mine) > 0


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"bucket_width": "1m"}, "bucket_width"),
        ({"group_by": "team"}, "group_by"),
        ({"limit": "32"}, "limit"),
        ({"end_time": 5}, "end_time"),
        ({"start_time": "soon"}, "start_time"),
        ({"page": "page_17"}, "page"),
        ({"batch": "true"}, "batch"),
    ],
)
def test_bad_questions_have_the_providers_form(port: int, change: dict[str, Any], param: str) -> None:
    status, answer = ask(port, "/v1/organization/usage/completions", {**SECONDS, **change})
    assert status == 400
    assert answer["error"]["param"] == param
    status, answer = ask(port, "/v1/organizations/cost_report", {"starting_at": "soon"})
    assert (status, answer["type"]) == (400, "error")
    assert ask(port, "/v1/organization/costs", SECONDS, key="nobody")[0] == 401
