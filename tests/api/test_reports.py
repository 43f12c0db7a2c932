"""`GET /reports/{name}` over a real socket: answers, problems, pages, and what a client may see."""

from __future__ import annotations

import asyncio
import csv
import http.client
import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import uvicorn
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.requests import Request

from gateway.api.reports import PAGE_ROWS, WHOLE_BYTES, Deps, routes
from gateway.clock import DrivenClock
from gateway.domain.errors import Unauthenticated
from gateway.reports.visibility import Principal
from gateway.store.engine import Database
from tests.databases import postgres, sqlite_template
from tests.reports.asking import ADMIN, AS_OF_US, NOW_US, nano, virtual_key
from tests.reports.conftest import Book, book

__all__ = ["book", "postgres", "sqlite_template"]

PERIOD = {"start": "2026-10-19", "end": "2026-11-09"}
PRINCIPALS: Mapping[str, Principal] = {"admin": ADMIN, "key": virtual_key("key_b", "acct_search")}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Client:
    """Asks the server over a socket."""

    port: int

    def get(self, path: str, parameters: Any = (), *, key: str = "admin", method: str = "GET") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            query = parameters if isinstance(parameters, str) else urlencode(parameters)
            connection.request(method, f"{path}?{query}", headers={"authorization": f"Bearer {key}"})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()


async def authenticate(request: Request) -> Principal:
    """Whose key it is; the gateway hands in its own."""
    principal = PRINCIPALS.get(request.headers.get("authorization", "").removeprefix("Bearer "))
    if principal is None:
        raise Unauthenticated("invalid_api_key", "The API key is unknown.", hint="Ask for a new one.")
    return principal


def complete_until(conn: Connection) -> int:
    return AS_OF_US


@pytest.fixture(scope="module")
def client(book: Book) -> Iterator[Client]:
    """A server with the reports' route, on the generated ledger."""
    database = Database(book.url)
    deps = Deps(database, DrivenClock(NOW_US), authenticate, complete_until)
    config = uvicorn.Config(Starlette(routes=routes(deps)), port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
        assert thread.is_alive(), "the server did not start"
    yield Client(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join()
    asyncio.run(database.stop())


def test_a_report(book: Book, client: Client) -> None:
    answer = client.get("/reports/spend", {**PERIOD, "group_by": "account", "bucket": "week"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-tollgate-as-of"] == answer.json["as_of"] == "2026-11-08T10:07:30Z"
    assert nano(answer.json["total"]["cost"]) == sum(entry.cost for entry in book.entries)


def test_a_csv_is_a_file(client: Client) -> None:
    answer = client.get("/reports/usage", {**PERIOD, "format": "csv", "timezone": "Asia/Tokyo"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-2026-10-19-2026-11-09.csv"'
    assert answer.headers["x-tollgate-as-of"] == "2026-11-08T10:07:30Z"
    assert answer.body.count(b"\r\n") == 2


def test_a_big_answer_is_sent_in_pieces(book: Book, client: Client) -> None:
    """Quarter hours of every end user: more than is sent in one piece, and every row of it arrives."""
    question = {**PERIOD, "bucket": "hour", "group_by": "account,key,model,end_user,meter"}
    answer = client.get("/reports/spend", question)
    assert len(answer.body) > WHOLE_BYTES
    assert answer.headers["content-length"] == str(len(answer.body))
    assert sum(nano(row["cost"]) for row in answer.json["rows"]) == nano(answer.json["total"]["cost"])
    assert nano(answer.json["total"]["cost"]) == sum(entry.cost for entry in book.entries)


def test_all_calls_as_csv_come_page_after_page(book: Book, client: Client) -> None:
    answer = client.get("/reports/calls", {**PERIOD, "format": "csv"})
    assert answer.status == 200
    assert answer.headers["transfer-encoding"] == "chunked"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    expected = sorted(book.entries, key=lambda entry: (entry.at_us, entry.id), reverse=True)
    assert len(expected) > 3 * PAGE_ROWS
    assert [row["id"] for row in rows] == [entry.id for entry in expected]


def test_calls_by_pages(book: Book, client: Client) -> None:
    question = {**PERIOD, "limit": "2"}
    first = client.get("/reports/calls", question).json
    assert len(first["rows"]) == 2
    second = client.get("/reports/calls", {**question, "after": first["next"]}).json
    ids = [row["id"] for row in (*first["rows"], *second["rows"])]
    expected = sorted(book.entries, key=lambda entry: (entry.at_us, entry.id), reverse=True)
    assert ids == [entry.id for entry in expected[:4]]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "code", "param"),
    [
        ("/reports/spendings", {}, 404, "not_found", "name"),
        ("/reports/spend", {"group_by": "team"}, 400, "invalid_value", "group_by"),
        ("/reports/spend", {"colour": "red"}, 400, "unsupported_field", "colour"),
        ("/reports/spend", {"start": "2026-11-02", "end": "2026-11-01"}, 400, "invalid_value", "end"),
        ("/reports/spend", {"timezone": "Mars"}, 400, "invalid_value", "timezone"),
        ("/reports/spend", {"currency": "EUR"}, 400, "invalid_value", "currency"),
        ("/reports/spend", {"bucket": "hour", "start": "1980-01-01"}, 400, "invalid_value", "bucket"),
        ("/reports/spend", {"account": "nobody' OR '1'='1"}, 404, "not_found", "account"),
        ("/reports/spend", "bucket=day&bucket=day", 400, "invalid_value", "bucket"),
        ("/reports/spend", "model=%00", 400, "invalid_value", "model"),
        ("/reports/spend", "model=%ff%fe", 200, None, None),
        ("/reports/calls", {"after": "att_none"}, 400, "invalid_value", "after"),
        ("/reports/calls", {"after": "att_none", "format": "csv"}, 400, "invalid_value", "after"),
    ],
)
def test_a_bad_question_is_a_problem(
    client: Client, path: str, parameters: Any, status: int, code: str | None, param: str | None
) -> None:
    answer = client.get(path, parameters)
    assert answer.status == status, answer.body
    if code is not None:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert (problem["status"], problem["code"], problem["param"]) == (status, code, param)
        assert problem["detail"]
        assert problem["hint"]


def test_who_asks_decides(book: Book, client: Client) -> None:
    mine = client.get("/reports/spend", PERIOD, key="key")
    cost = sum(entry.cost for entry in book.entries if entry.key == "key_b")
    assert nano(mine.json["total"]["cost"]) == cost
    assert client.get("/reports/spend", {"account": "acct_ads"}, key="key").status == 404
    assert client.get("/reports/open_holds", key="key").status == 403
    nobody = client.get("/reports/spend", {"nonsense": "1"}, key="stranger")
    assert (nobody.status, nobody.json["code"]) == (401, "invalid_api_key")


def test_only_reading(client: Client) -> None:
    assert client.get("/reports/spend", method="POST").status == 405
    assert client.get("/reports/", {}).status == 404
