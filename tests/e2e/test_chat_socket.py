"""Chat over one WebSocket: what clients of the usual relays do, and everything that goes wrong between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway.simulators import SimulatedProviders
from tests.e2e.teams import Team, nano
from tests.running import Gateway, eventually

HELLO = [{"role": "user", "content": "hello"}]
LIMIT_S = 60


@contextmanager
def socket(team: Team, **options: Any) -> Iterator[ClientConnection]:
    # Without a bound: a client that has stopped reading does not see its close answered, and waits in vain.
    given = {
        "additional_headers": {"authorization": f"Bearer {team.key}"},
        "max_queue": None,
        "open_timeout": LIMIT_S,
        **options,
    }
    url = f"ws://127.0.0.1:{team.gateway.port}/v1/chat/completions/stream"
    with connect(url, max_size=None, **given) as connection:
        yield connection


def said(connection: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(connection.recv(LIMIT_S))
    return frame


def ask(connection: ClientConnection, **fields: Any) -> None:
    connection.send(json.dumps({"model": "gpt-4.1", "messages": HELLO, "max_tokens": 20, **fields}))


def words(count: int) -> list[dict[str, str]]:
    """A prompt whose answer is so long."""
    return [{"role": "user", "content": f"hello [[sim: words={count}]]"}]


def answer(connection: ClientConnection) -> list[dict[str, Any]]:
    """The frames up to the last of one call, as any client reads them."""
    frames = []
    while True:
        frames.append(said(connection))
        if "error" in frames[-1]:
            return frames
        choices = frames[-1].get("choices")
        if choices and choices[0]["finish_reason"]:
            return frames


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(f["choices"][0]["delta"].get("content") or "" for f in frames if "choices" in f)


def test_a_plain_client_reads_deltas_until_the_finish_reason(team: Team) -> None:
    with socket(team) as connection:
        ask(connection)
        first, *rest = answer(connection)
        ask(connection)
        again = answer(connection)
    assert set(first) == {"type", "call"}
    assert [frame["seq"] for frame in rest] == list(range(1, len(rest) + 1))
    assert all(len(frame["choices"]) == 1 and frame["call"] == first["call"] for frame in rest)
    receipt = team.receipt(first["call"])
    usage = rest[-1]["usage"]
    assert nano(f"{usage['cost']:.9f}") == nano(receipt["cost_usd"])
    assert usage["completion_tokens"] == receipt["usage"]["output"] == 20
    assert text_of(again[1:])
    assert len(team.booked(2)) == 2


def test_several_at_once_each_with_its_name(team: Team, providers: SimulatedProviders) -> None:
    providers.defaults(pace_ms=2)
    with socket(team) as connection:
        for number in range(8):
            ask(connection, request_id=f"r{number}")
        frames: dict[str, list[dict[str, Any]]] = {}
        while sum(1 for each in frames.values() if "usage" in each[-1]) < 8:
            frame = said(connection)
            frames.setdefault(frame["request_id"], []).append(frame)
    assert set(frames) == {f"r{number}" for number in range(8)}
    assert len({each[0]["call"] for each in frames.values()}) == 8
    assert len({text_of(each) for each in frames.values()}) == 1


@pytest.mark.parametrize("dialect", ["query", "subprotocol"])
def test_a_browser_brings_its_key_in_the_address_or_the_subprotocol(team: Team, dialect: str) -> None:
    url = f"ws://127.0.0.1:{team.gateway.port}/v1/chat/completions/stream"
    options: dict[str, Any] = {"origin": "https://app.example"}
    if dialect == "query":
        url += f"?key={team.key}"
    else:
        options["subprotocols"] = ["tollgate", f"tollgate-key.{team.key}"]
    with connect(url, **options) as connection:
        assert connection.subprotocol == ("tollgate" if dialect == "subprotocol" else None)
        assert connection.response is not None
        assert team.key not in str(connection.response.headers)
        connection.send('{"type":"ping"}')
        assert said(connection) == {"type": "pong"}
    assert team.key not in team.gateway.words()


@pytest.mark.parametrize("key", ["", "sk-tg-garbage", "revoked"])
def test_without_a_good_key_there_is_no_socket(team: Team, gateway: Gateway, key: str) -> None:
    if key == "revoked":
        key = team.make_key()
        gateway.admin.delete(f"/admin/keys/{gateway.client(key).get('/v1/key')['id']}")
        eventually(lambda: gateway.client(key).call("GET", "/v1/key").status == 401, "it is revoked")
    url = f"ws://127.0.0.1:{gateway.port}/v1/chat/completions/stream"
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 401
    assert b"invalid_api_key" in (refused.value.response.body or b"")


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ({"stream": False}, "invalid_value", "stream"),
        ({"n": 2}, "invalid_value", "n"),
        ({"model": "no-such-model"}, "model_not_found", "model"),
        ({"messages": "hello"}, "invalid_value", "messages"),
        ("{", "invalid_json", None),
        (b"\x00\x01", "invalid_json", None),
        ({"type": "resume", "call": "call_unknown"}, "call_not_found", None),
        ({"type": "cancel", "call": "call_unknown"}, "call_not_found", None),
    ],
)
def test_a_bad_frame_gets_a_named_error_and_harms_nothing(
    team: Team, providers: SimulatedProviders, frame: Any, code: str, param: str | None
) -> None:
    whole = {"model": "gpt-4.1", "messages": HELLO, "request_id": "r7"}
    sent = json.dumps({**whole, **frame}) if isinstance(frame, dict) else frame
    with socket(team) as connection:
        connection.send(sent)
        error = said(connection)
        assert error["error"]["tollgate"]["code"] == code
        if param is not None:
            assert (error["error"]["param"], error["request_id"]) == (param, "r7")
        assert providers.bill() == []
        ask(connection)
        assert answer(connection)[-1]["usage"]["completion_tokens"] == 20


def test_a_frame_too_large_ends_its_connection_and_no_other(team: Team) -> None:
    with socket(team) as other, socket(team) as connection:
        with suppress(ConnectionClosed):
            connection.send(json.dumps({"model": "gpt-4.1", "messages": HELLO, "x": "x" * 11_000_000}))
        with pytest.raises(ConnectionClosed) as closed:
            said(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        ask(other)
        assert "usage" in answer(other)[-1]


def test_a_thousand_frames_are_answered_in_order(team: Team) -> None:
    with socket(team) as connection:
        for _ in range(1_000):
            connection.send('{"type":"ping"}')
        assert all(said(connection) == {"type": "pong"} for _ in range(1_000))


def test_every_turn_over_budget_is_refused_before_it_starts(
    team: Team, providers: SimulatedProviders
) -> None:
    team.budget("0.001")
    turns = 0
    with socket(team) as connection:
        while True:
            ask(connection)
            frames = answer(connection)
            if "error" in frames[-1]:
                break
            turns += 1
            assert turns < 20
    error = frames[-1]["error"]
    assert len(frames) == 1
    assert (error["type"], error["tollgate"]["code"]) == ("insufficient_quota", "budget_exceeded")
    assert turns == len(team.booked(turns)) == len(providers.bill())


class TestResume:
    """A socket that breaks loses nothing, and nothing is billed twice."""

    FRAMES = 200

    @pytest.fixture
    def whole(self, team: Team) -> tuple[str, list[dict[str, Any]]]:
        """A finished answer of so many frames: its call, and the frames."""
        with socket(team) as connection:
            ask(connection, messages=words(self.FRAMES - 2), max_tokens=self.FRAMES - 2)
            call, *frames = answer(connection)
        assert len(frames) == self.FRAMES
        return call["call"], frames

    def test_after_every_single_frame_of_a_finished_answer(
        self, team: Team, whole: tuple[str, list[dict[str, Any]]]
    ) -> None:
        call, frames = whole
        with socket(team) as connection:
            for after in range(self.FRAMES):
                connection.send(json.dumps({"type": "resume", "call": call, "after": after}))
                assert answer(connection)[1:] == frames[after:]
            connection.send(json.dumps({"type": "resume", "call": call, "after": self.FRAMES}))
            assert said(connection) == {"type": "call", "call": call}
        assert len(team.booked(1)) == 1

    def test_a_running_answer_cut_after_every_frame(self, team: Team, providers: SimulatedProviders) -> None:
        """Each time the socket goes after one more frame, and another one takes up where it stopped."""
        providers.defaults(pace_ms=10)
        frames: list[dict[str, Any]] = []
        call = ""
        length = self.FRAMES - 2
        while not frames or "usage" not in frames[-1]:
            with socket(team) as connection:
                if call:
                    connection.send(json.dumps({"type": "resume", "call": call, "after": len(frames)}))
                else:
                    ask(connection, messages=words(length), max_tokens=length)
                call = said(connection)["call"]
                frames.append(said(connection))
        assert [frame["seq"] for frame in frames] == list(range(1, self.FRAMES + 1))
        (row,) = team.booked(1)
        assert row["usage"]["output"] == length
        assert row["outcome"] == "done"
        assert len(providers.bill()) == 1

    def test_two_at_once_read_the_same(self, team: Team, providers: SimulatedProviders) -> None:
        providers.defaults(pace_ms=3)
        with socket(team) as one, socket(team) as two:
            ask(one, messages=words(50), max_tokens=50)
            call = said(one)["call"]
            first = said(one)
            two.send(json.dumps({"type": "resume", "call": call}))
            assert [first, *answer(one)] == answer(two)[1:]

    def test_over_sse_and_back(self, team: Team, whole: tuple[str, list[dict[str, Any]]]) -> None:
        call, frames = whole
        body = team.client.call("GET", f"/v1/calls/{call}/events?after=150").body.decode()
        events = [part.split("\n") for part in body.strip().split("\n\n")]
        assert [int(event[0].removeprefix("id: ")) for event in events[:-1]] == list(range(151, 201))
        assert [json.loads(event[1].removeprefix("data: ")) for event in events[:-1]] == frames[150:]
        assert events[-1] == ["data: [DONE]"]
        again = team.client.call("GET", f"/v1/calls/{call}/events", last_event_id="199").body.decode()
        assert again.startswith("id: 200\n")

    def test_somebody_elses_is_like_none(
        self, team: Team, gateway: Gateway, whole: tuple[str, list[dict[str, Any]]]
    ) -> None:
        call, _ = whole
        stranger = Team(gateway, f"stranger of {call}")
        found = []
        with socket(stranger) as connection:
            for each in (call, call[:-4] + "zzzz"):
                connection.send(json.dumps({"type": "resume", "call": each}))
                found.append({**said(connection), "call": ""})
        assert found[0] == found[1]
        assert found[0]["error"]["tollgate"]["code"] == "call_not_found"
        for method, path in (("GET", "events"), ("POST", "cancel")):
            refused = stranger.client.call(method, f"/v1/calls/{call}/{path}")
            assert (refused.status, refused.code) == (404, "call_not_found")

    def test_a_colleague_who_sees_the_account_may(
        self, team: Team, whole: tuple[str, list[dict[str, Any]]]
    ) -> None:
        call, frames = whole
        team.make_key(name="colleague", sees_account=True)
        with socket(team) as connection:
            connection.send(json.dumps({"type": "resume", "call": call, "after": 198}))
            assert answer(connection)[1:] == frames[198:]

    def test_not_after_the_key_is_revoked(
        self, team: Team, gateway: Gateway, whole: tuple[str, list[dict[str, Any]]]
    ) -> None:
        with socket(team) as connection:
            gateway.admin.delete(f"/admin/keys/{team.client.get('/v1/key')['id']}")
            with pytest.raises(ConnectionClosed) as closed:
                said(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008

    def test_cancelled_it_is_settled_and_says_so(self, team: Team, providers: SimulatedProviders) -> None:
        providers.defaults(pace_ms=20)
        with socket(team) as connection:
            ask(connection, messages=words(2_000), max_tokens=2_000)
            call = said(connection)["call"]
            said(connection)
            connection.send(json.dumps({"type": "cancel", "call": call}))
            assert answer(connection)[-1]["error"]["tollgate"]["code"] == "cancelled"
        (row,) = team.booked(1)
        assert row["outcome"] == "aborted"
        assert 0 < row["usage"]["output"] < 100
