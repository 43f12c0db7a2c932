from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.dashboard.sessions import COOKIE, LASTS_S, MOST_WRONG, Door, Session, is_ours
from gateway.sealing import Seal


def request(**headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in {"host": "gate:8080", **headers}.items()]
    return Request({"type": "http", "scheme": "https", "path": "/", "headers": raw, "server": ("gate", 8080)})


def cookie_of(door: Door) -> str:
    response = Response()
    door.let_in(response, request(), "an-admin-key-of-ours")
    return response.headers["set-cookie"]


def test_a_session_is_sealed_and_closed_to_scripts_and_other_sites() -> None:
    door = Door(Seal("secret", "session"), lambda: 0.0)
    cookie = cookie_of(door)
    assert "an-admin-key" not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/dashboard"))
    session = door.session(request(cookie=cookie.partition(";")[0]))
    assert session is not None
    assert session.key == "an-admin-key-of-ours"


def test_nobody_elses_cookie_opens() -> None:
    door = Door(Seal("secret", "session"), lambda: 0.0)
    for seal in (Seal("another", "session"), Seal("secret", "webhook")):
        assert door.session(request(cookie=f"{COOKIE}={seal.seal('an-admin-key')}")) is None
    assert door.session(request(cookie=f"{COOKIE}=garbage")) is None
    assert door.session(request()) is None


def test_a_session_ends() -> None:
    seal = Seal("secret", "session")
    assert seal.unseal(seal.seal("key"), LASTS_S) == "key"
    assert seal.unseal(seal.seal("key"), -1) is None


def test_a_form_needs_its_sessions_token_and_this_site() -> None:
    session = Session("key", "token-1")
    assert is_ours(request(), session, "token-1")
    assert is_ours(request(origin="https://gate:8080"), session, "token-1")
    assert not is_ours(request(origin="https://evil.example"), session, "token-1")
    assert not is_ours(request(), session, "token-2")
    assert not is_ours(request(), session, "")


def test_guessing_is_slowed_down_for_a_minute() -> None:
    now = [0.0]
    door = Door(Seal("secret", "session"), lambda: now[0])
    for _ in range(MOST_WRONG):
        assert not door.is_besieged
        door.was_wrong()
    assert door.is_besieged
    now[0] = 61.0
    assert not door.is_besieged
