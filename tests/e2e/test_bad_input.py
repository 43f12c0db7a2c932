"""Bad input: each kind gets its named error, nothing is charged, nothing leaks, nobody else is harmed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.domain.keys import mint
from gateway.simulators import SimulatedProviders
from tests.e2e.conftest import more_providers
from tests.e2e.teams import Team
from tests.e2e.upstream import ScriptedUpstream, answer
from tests.e2e.wire import CHAT, connect, request, say
from tests.running import ADMIN_KEY, Gateway, eventually, running
from tests.simulators.raw import Heard

pytestmark = pytest.mark.slow

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
GOOD: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[[sim: words=3]]"}]}


def error(heard: Heard) -> Any:
    return json.loads(heard.body)["error"]


def refused(team: Team, heard: Heard, status: int, code: str, param: str | None = None) -> None:
    """The named error in OpenAI's shape, not to be tried again; nothing was sent, nothing is booked."""
    assert heard.status == status, heard.raw[:500]
    told = error(heard)
    assert (told["code"], told["param"]) == (code, param)
    assert told["message"]
    assert told["tollgate"]["hint"]
    assert b"x-should-retry: false\r\n" in heard.head + b"\r\n"
    assert team.rows() == []


BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "nothing": (b"", "invalid_json", None),
    "no JSON": (b"hello", "invalid_json", None),
    "half of it": (b'{"model":"gpt-4.1",' + MESSAGES, "invalid_json", None),
    "more after it": (b'{"model":"gpt-4.1",' + MESSAGES + b"} {}", "invalid_json", None),
    "NUL bytes": (b'{"model":"gpt-4.1",' + MESSAGES + b"}\0\0", "invalid_json", None),
    "a NUL in a string": (b'{"model":"gpt\0",' + MESSAGES + b"}", "invalid_json", None),
    "not UTF-8": (b'{"model":"gpt-4.1","x":"\xff\xfe",' + MESSAGES + b"}", "invalid_json", None),
    "a number JSON has not": (
        b'{"model":"gpt-4.1","max_tokens":NaN,' + MESSAGES + b"}",
        "invalid_json",
        None,
    ),
    "an array": (b"[]", "invalid_value", None),
    "a string": (b'"gpt-4.1"', "invalid_value", None),
    "no model": (b"{" + MESSAGES + b"}", "invalid_value", "model"),
    "no messages": (b'{"model":"gpt-4.1"}', "invalid_value", "messages"),
    "a model that is none": (b'{"model":7,' + MESSAGES + b"}", "invalid_value", "model"),
    "an empty model": (b'{"model":"",' + MESSAGES + b"}", "invalid_value", "model"),
    "a model of 300 characters": (
        b'{"model":"' + b"m" * 300 + b'",' + MESSAGES + b"}",
        "invalid_value",
        "model",
    ),
    "line ends in the model": (b'{"model":"gpt\\r\\nx: 1",' + MESSAGES + b"}", "invalid_value", "model"),
    "messages that are none": (b'{"model":"gpt-4.1","messages":{}}', "invalid_value", "messages"),
    "a message that is none": (b'{"model":"gpt-4.1","messages":[1]}', "invalid_value", "messages[0]"),
    "a negative cap": (
        b'{"model":"gpt-4.1","max_tokens":-1,' + MESSAGES + b"}",
        "invalid_value",
        "max_tokens",
    ),
    "a cap beyond all numbers": (
        b'{"model":"gpt-4.1","max_tokens":99999999999999999999999,' + MESSAGES + b"}",
        "invalid_value",
        "max_tokens",
    ),
    "a cap with a fraction": (
        b'{"model":"gpt-4.1","max_tokens":1.5,' + MESSAGES + b"}",
        "invalid_value",
        "max_tokens",
    ),
    "too many choices": (b'{"model":"gpt-4.1","n":100000,' + MESSAGES + b"}", "invalid_value", "n"),
    "the model twice": (
        b'{"model":"gpt-4.1","model":"gpt-4o-mini",' + MESSAGES + b"}",
        "invalid_value",
        "model",
    ),
    "a cap twice": (
        b'{"model":"gpt-4.1","max_tokens":1,"max_tokens":9999,' + MESSAGES + b"}",
        "invalid_value",
        "max_tokens",
    ),
    "a cap in other letters": (
        b'{"model":"gpt-4.1","Max_Tokens":9999,' + MESSAGES + b"}",
        "invalid_value",
        "Max_Tokens",
    ),
    "a control character in the user": (
        b'{"model":"gpt-4.1","user":"a\\u0000b",' + MESSAGES + b"}",
        "invalid_value",
        "user",
    ),
    "100,000 levels": (
        b'{"model":"gpt-4.1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "invalid_json",
        None,
    ),
    "100,000 levels of nothing": (b"[" * 100_000, "invalid_value", None),
    "objects in objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json", None),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_call(team: Team, providers: SimulatedProviders, name: str) -> None:
    body, code, param = BODIES[name]
    refused(team, say(team.gateway, request(team.key, body)), 400, code, param)
    assert providers.bill() == []


def test_a_body_of_10_mb_is_a_call_like_any_other(team: Team, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}'))
    body = {**GOOD, "model": "scripted/gpt-4.1", "max_tokens": 5}
    body["messages"] = [{"role": "user", "content": "x " * 5_000_000}]
    sent = request(team.key, body)
    assert say(team.gateway, sent).status == 200
    assert upstream.body() == sent.partition(b"\r\n\r\n")[2].replace(b"scripted/", b"", 1)


@pytest.mark.parametrize("path", [CHAT, "/v1/estimate", "/nowhere", "/admin/keys"])
def test_a_body_over_the_limit(team: Team, providers: SimulatedProviders, path: str) -> None:
    sent = request(team.key, b" " * (33 * 1024 * 1024), path=path)
    refused(team, say(team.gateway, sent), 413, "request_too_large")


def test_a_head_of_a_megabyte(team: Team) -> None:
    sent = request(team.key, GOOD, headers={"x-long": "y" * 1_000_000})
    refused(team, say(team.gateway, sent), 431, "request_too_large")


def test_fields_nobody_knows_pass(team: Team, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}'))
    body = {**GOOD, "model": "scripted/gpt-4.1", "max_tokens": 5, "future": {"a": [1, None]}, "x": "\u2028"}
    assert say(team.gateway, request(team.key, body)).status == 200
    assert json.loads(upstream.body()) == {**body, "model": "gpt-4.1"}


# Keys.


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-goog-api-key", "api-key"])
def test_a_key_is_taken_from_the_header_of_each_sdk(team: Team, name: str) -> None:
    value = f"Bearer {team.key}" if name == "authorization" else team.key
    assert say(team.gateway, request("", GOOD, headers={name: value})).status == 200


def test_the_scheme_may_be_in_small_letters(team: Team) -> None:
    assert (
        say(team.gateway, request("", GOOD, headers={"authorization": f"bearer  {team.key} "})).status == 200
    )


CHECKED = mint(bytes(range(32)))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer garbage"},
        {"authorization": f"Bearer {CHECKED}"},  # well made, never issued
        {"authorization": f"Bearer {CHECKED[:-1]}"},
        {"authorization": f"Bearer {CHECKED.swapcase()}"},
        {"authorization": f"Bearer {ADMIN_KEY}"},
        {"authorization": "Bearer sk-proj-" + "a" * 100},
        {"authorization": "Bearer " + "a" * 10_000},
        {"authorization": "Bearer \xe9\xff"},
        {"x-api-key": "garbage"},
        {"cookie": f"key={CHECKED}"},
    ],
)
def test_a_key_that_is_none(team: Team, providers: SimulatedProviders, headers: dict[str, str]) -> None:
    for path in (CHAT, "/v1/key"):
        method = "POST" if path == CHAT else "GET"
        heard = say(team.gateway, request("", GOOD, method=method, path=path, headers=headers))
        refused(team, heard, 401, "invalid_api_key")
        for value in headers.values():
            assert value.rpartition(" ")[2].encode("latin-1") not in heard.body or len(value) < 9
    assert providers.bill() == []


def test_a_key_in_the_address_is_not_taken(team: Team, providers: SimulatedProviders) -> None:
    for path in (CHAT, "/v1/key", "/v1/models"):
        method = "POST" if path == CHAT else "GET"
        sent = request("", GOOD, method=method, path=f"{path}?key={team.key}")
        refused(team, say(team.gateway, sent), 401, "invalid_api_key")
    assert team.key not in team.gateway.words()


def status_of(team: Team) -> tuple[int, str]:
    answer = team.client.call("POST", CHAT, GOOD)
    return answer.status, answer.code


def test_a_revoked_key(team: Team) -> None:
    made = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "short-lived"})
    team._key = made["key"]
    assert status_of(team) == (200, "")
    team.gateway.admin.delete(f"/admin/keys/{made['id']}")
    eventually(lambda: status_of(team) == (401, "invalid_api_key"), "it is revoked", 1.0)


def test_a_blocked_key_and_back(team: Team) -> None:
    made = team.gateway.admin.post("/admin/keys", {"account": team.account, "name": "blocked"})
    team._key = made["key"]
    path = f"/admin/keys/{made['id']}"
    for status, told in (("blocked", (403, "blocked")), ("active", (200, ""))):
        team.gateway.admin.patch(path, {"status": status})
        eventually(lambda told=told: status_of(team) == told, f"it is {status}", 1.0)  # type: ignore[misc]


def test_a_key_that_expires(team: Team) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    team.make_key(expires_at=soon.isoformat().replace("+00:00", "Z"))
    assert status_of(team) == (200, "")
    eventually(lambda: status_of(team) == (401, "invalid_api_key"), "it has expired", 3.0)


def test_an_account_blocked_anywhere_above(team: Team) -> None:
    top = team.account
    for name in ("middle", "bottom"):
        team.account = team.gateway.account(name, parent=team.account)
    team.make_key()
    assert status_of(team) == (200, "")
    team.gateway.admin.patch(f"/admin/accounts/{top}", {"status": "blocked"})
    eventually(lambda: status_of(team) == (403, "blocked"), "it is blocked", 1.0)
    heard = say(team.gateway, request(team.key, GOOD))
    assert error(heard)["type"] == "permission_error"


# Headers of the gateway's own.


@pytest.mark.parametrize(
    "tags",
    [
        "team",
        "=x",
        "team=",
        "team=a,team=b",
        "a" * 65 + "=x",
        "team=" + "x" * 256,
        ",".join(f"t{number}=x" for number in range(17)),
        "team=a\x01b",
        "team=\xff\xfe\x02",
    ],
)
def test_tags_that_cannot_be_kept(team: Team, providers: SimulatedProviders, tags: str) -> None:
    heard = say(team.gateway, request(team.key, GOOD, headers={"x-tollgate-tags": tags}))
    assert (heard.status, error(heard)["code"]) == (400, "invalid_value")
    assert team.rows() == []
    assert providers.bill() == []


def test_line_ends_in_tags_make_another_header_and_no_tag(team: Team, upstream: ScriptedUpstream) -> None:
    upstream.play(answer(b'{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}'))
    body = {**GOOD, "model": "scripted/gpt-4.1"}
    tags = "team=search\r\nx-evil: 1"
    assert say(team.gateway, request(team.key, body, headers={"x-tollgate-tags": tags})).status == 200
    assert b"evil" not in upstream.requests()[0]
    assert team.booked(1)[0]["tags"] == {"team": "search"}


def test_a_keys_own_tags_win(team: Team) -> None:
    team.make_key(tags={"env": "prod"})
    sent = request(team.key, GOOD, headers={"x-tollgate-tags": "env=dev, team = search ,"})
    assert say(team.gateway, sent).status == 200
    assert team.booked(1)[0]["tags"] == {"env": "prod", "team": "search"}


def test_an_end_user_where_one_is_required(team: Team) -> None:
    team.make_key(require_end_user=True)
    refused(team, say(team.gateway, request(team.key, GOOD)), 400, "invalid_value", "user")
    for sent in (
        request(team.key, GOOD, headers={"x-tollgate-end-user": " ada "}),
        request(team.key, {**GOOD, "user": "ada"}),
        request(team.key, {**GOOD, "safety_identifier": "ada"}),
        request(team.key, {**GOOD, "user": "bob"}, headers={"x-tollgate-end-user": "ada"}),
    ):
        assert say(team.gateway, sent).status == 200
    assert {row["end_user"] for row in team.booked(4)} == {"ada"}


def test_an_end_user_that_cannot_be_kept(team: Team) -> None:
    heard = say(team.gateway, request(team.key, GOOD, headers={"x-tollgate-end-user": "u" * 256}))
    assert (heard.status, error(heard)["code"]) == (400, "invalid_value")


# Other dialects are answered in their own words.


def test_anthropics_path_is_answered_in_anthropics_words(team: Team) -> None:
    heard = say(team.gateway, request("garbage", GOOD, path="/v1/messages"))
    assert heard.status == 401
    told = json.loads(heard.body)
    assert (told["type"], told["error"]["type"]) == ("error", "authentication_error")
    assert told["error"]["tollgate"]["code"] == "invalid_api_key"


def test_geminis_path_is_answered_in_geminis_words(team: Team) -> None:
    heard = say(team.gateway, request(team.key, GOOD, path="/v1beta/nonsense"))
    told = error(heard)
    assert (heard.status, told["code"], told["status"]) == (404, 404, "NOT_FOUND")


def test_the_admin_planes_paths_are_answered_in_problems(team: Team) -> None:
    heard = say(team.gateway, request(team.key, method="GET", path="/admin/keys"))
    assert heard.status == 401
    assert b"content-type: application/problem+json" in heard.head


# A gateway of its own, with little patience.


@pytest.fixture(scope="module")
def impatient(
    tmp_path_factory: pytest.TempPathFactory, simulated: SimulatedProviders, scripted: ScriptedUpstream
) -> Iterator[Gateway]:
    settings = more_providers(simulated, scripted) | {
        "TOLLGATE_SERVER__HEADER_TIMEOUT_S": "0.5",
        "TOLLGATE_SERVER__BODY_TIMEOUT_S": "0.5",
        "TOLLGATE_SERVER__MAX_CONNECTIONS": "20",
        "TOLLGATE_SERVER__MAX_BODY_BYTES": "100000",
    }
    with running(tmp_path_factory.mktemp("impatient"), simulated, settings=settings) as process:
        yield process


@pytest.mark.parametrize("part", ["head", "body"])
def test_slow_loris(impatient: Gateway, part: str) -> None:
    team = Team(impatient, f"slow-{part}")
    whole = request(team.key, GOOD)
    end = whole.index(b"\r\n\r\n") + (0 if part == "head" else 20)
    heard = say(impatient, whole[: end - 3], *(whole[at : at + 1] for at in range(end - 3, end)), pause_s=0.2)
    assert heard.status == 400
    assert "in time" in error(heard)["message"]
    assert team.rows() == []


def test_connections_beyond_the_limit(impatient: Gateway) -> None:
    team = Team(impatient, "many")
    key = team.key
    socks = [connect(impatient) for _ in range(20)]
    try:
        heard = say(impatient, request(key, GOOD))
        assert heard.status == 503
        assert error(heard)["code"] == "draining"
    finally:
        for sock in socks:
            sock.close()
    eventually(lambda: team.client.call("GET", "/v1/key").status == 200, "there is room again")


NOISE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf",
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"\0" * 1000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 500_000,
    bytes(range(256)) * 100,
]


def test_a_storm_of_garbage_harms_nobody_else(team: Team, providers: SimulatedProviders) -> None:
    stream = team.client.stream("gpt-4.1", "[[sim: words=300 pace_ms=3]]", max_tokens=400)

    def storm() -> None:
        for _ in range(10):
            for noise in NOISE:
                with connect(team.gateway) as sock:
                    sock.sendall(noise)

    storms = [threading.Thread(target=storm) for _ in range(4)]
    for each in storms:
        each.start()
    events = list(stream.events())
    stream.close()
    for each in storms:
        each.join()
    assert events[-1] == b"[DONE]"
    assert len(events) > 300
    assert team.client.call("POST", CHAT, GOOD).status == 200
    assert len(team.booked(2)) == 2


@pytest.fixture(scope="module", autouse=True)
def no_secret_is_logged(gateway: Gateway) -> Iterator[None]:
    """Whatever was sent in this file, the log names no key, no credential and no query."""
    yield
    words = gateway.words()
    assert '"event":"call"' in words
    for secret in (ADMIN_KEY, "sk-simulated", CHECKED, "?key=", "garbage", "[[sim", "Traceback"):
        assert secret not in words, secret
