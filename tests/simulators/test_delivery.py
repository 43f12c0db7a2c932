"""Every fault, seen through a raw socket; and what it costs."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from gateway.simulators import SimulatedProviders
from tests.simulators.raw import call, connect, hear, request_bytes


def events(body: bytes) -> list[bytes]:
    """The data lines of a stream."""
    return [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]


def test_refuse_is_a_reset_before_any_byte_and_costs_nothing(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=refuse]]")
    assert (heard.raw, heard.reset) == (b"", True)
    [billed] = providers.bill()
    assert (billed.ending, billed.input_total, billed.output_total) == ("cut", 0, 0)


def test_hang_up_is_a_close_before_any_byte(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=hang_up]]", stream=True)
    assert (heard.raw, heard.reset) == (b"", False)


def test_cut_midstream_is_a_reset_after_so_many_tokens(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=cut_midstream after=4 words=9]]", stream=True)
    # The role comes first, then the tokens that count.
    assert (heard.reset, len(events(heard.body)), heard.finished) == (True, 1 + 4, False)
    [billed] = providers.bill()
    assert (billed.ending, billed.output_total, billed.saw_end) == ("cut", 4, False)


def test_close_midstream_closes_an_unfinished_body(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=close_midstream after=4 words=9]]", stream=True)
    assert (heard.reset, len(events(heard.body)), heard.finished) == (False, 5, False)


def test_end_midstream_finishes_http_but_not_the_stream(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=end_midstream after=0]]", stream=True)
    assert (heard.body, heard.finished) == (b"", True)


@pytest.mark.parametrize(("fault", "finished"), [("cut_json", False), ("half_json", True)])
def test_an_event_breaks_off_inside_its_json(
    providers: SimulatedProviders, fault: str, finished: bool
) -> None:
    heard = call(providers, f"[[sim: fault={fault} after=2 words=9]]", stream=True)
    *whole, broken = events(heard.body)
    assert len(whole) == 3
    assert heard.finished is finished
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    assert providers.bill()[0].output_total == 3


def test_an_error_in_band_ends_the_stream(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=error_midstream after=2 words=9]]", stream=True)
    *_, error, done = events(heard.body)
    assert json.loads(error)["error"]["type"] == "server_error"
    assert done == b"[DONE]"


def test_a_proxys_page_costs_nothing(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=html]]")
    assert heard.status == 200
    assert heard.body.startswith(b"<html>")
    assert providers.bill()[0].input_total == 0


@pytest.mark.parametrize("stream", [True, False])
def test_wrong_types_are_json_all_the_same(providers: SimulatedProviders, stream: bool) -> None:
    heard = call(providers, "[[sim: fault=wrong_types words=3]]", stream=stream)
    spoiled = events(heard.body)[2] if stream else heard.body
    assert json.loads(spoiled)["choices"] == "none"


def test_a_big_line_is_valid_json_of_ten_megabytes(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: fault=big_line words=3]]", stream=True)
    big = max(events(heard.body), key=len)
    assert len(big) > 10_000_000
    assert json.loads(big)["object"] == "chat.completion.chunk"
    assert heard.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_bad_utf8_cannot_be_decoded(providers: SimulatedProviders, stream: bool) -> None:
    heard = call(providers, "[[sim: fault=bad_utf8 words=3]]", stream=stream)
    with pytest.raises(UnicodeDecodeError):
        heard.body.decode()


@pytest.mark.parametrize(("fault", "said"), [("double_done", 2), ("no_done", 0)])
def test_the_terminator_is_said_as_often_as_told(
    providers: SimulatedProviders, fault: str, said: int
) -> None:
    heard = call(providers, f"[[sim: fault={fault} words=3]]", stream=True)
    assert events(heard.body).count(b"[DONE]") == said
    assert heard.finished


def test_the_cap_can_be_ignored_or_overrun(providers: SimulatedProviders) -> None:
    call(providers, "[[sim: words=40 ignore_cap=1]]", max_tokens=10)
    call(providers, "[[sim: words=40 over=3]]", max_tokens=10)
    assert [(billed.cap, billed.output_total) for billed in providers.bill()] == [(10, 40), (10, 13)]


@pytest.mark.parametrize(
    ("report", "shown"),
    [("none", "missing"), ("null", None), ("zero", 0), ("wrong", "many"), ("normal", 5)],
)
@pytest.mark.parametrize("stream", [True, False])
def test_usage_is_reported_as_told_and_billed_as_it_was(
    providers: SimulatedProviders, report: str, shown: object, stream: bool
) -> None:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    heard = call(providers, f"[[sim: words=5 usage={report}]]", **options)
    last = json.loads(events(heard.body)[-2] if stream else heard.body)
    usage = last.get("usage", {"completion_tokens": "missing"})
    if stream and report == "none":
        assert last["choices"]
    else:
        assert (usage and usage["completion_tokens"]) == shown
    assert providers.bill()[0].output_total == 5


@pytest.mark.parametrize("size", [1, 7])
def test_writes_come_in_the_size_asked_for(providers: SimulatedProviders, size: int) -> None:
    heard = call(providers, f"[[sim: words=3 chunk={size}]]", stream=True)
    assert {len(chunk) for chunk in heard.chunks} - {0} <= set(range(1, size + 1))
    assert events(heard.body)[-1] == b"[DONE]"


def test_crlf_framing(providers: SimulatedProviders) -> None:
    body = call(providers, "[[sim: words=3 crlf=1]]", stream=True).body
    assert body.count(b"\r\n\r\n") == body.count(b"data: ") == 6
    assert body.count(b"\n") == body.count(b"\r\n")


@pytest.mark.parametrize("stream", [True, False])
def test_gzip_is_declared_and_true(providers: SimulatedProviders, stream: bool) -> None:
    heard = call(providers, "[[sim: words=3 gzip=1]]", stream=stream)
    assert b"content-encoding: gzip" in heard.head
    assert b'"chat.completion' in gzip.decompress(heard.body)


def test_slow_headers_arrive_a_byte_at_a_time(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: words=3 fault=slow_headers]]")
    assert heard.status == 200
    assert json.loads(heard.body)["usage"]["completion_tokens"] == 3


async def test_a_stall_ends_only_with_its_client(providers: SimulatedProviders) -> None:
    body = {
        "model": "gpt-4o",
        "stream": True,
        "messages": [{"role": "user", "content": "[[sim: fault=stall hold=there after=3]]"}],
    }
    with connect(providers) as sock:
        sock.sendall(request_bytes("/openai/v1/chat/completions", body))
        await providers.until_held("there")
        providers.release("there")
    [billed] = await providers.until_ended(1)
    assert (billed.ending, billed.output_total) == ("client_gone", 3)


async def test_stalled_headers_cost_the_input(providers: SimulatedProviders) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim: fault=stall_headers]]"}]}
    with connect(providers) as sock:
        sock.sendall(request_bytes("/openai/v1/chat/completions", body))
        await providers.until_called(1)
        assert providers.bill()[0].ending == "open"
    [billed] = await providers.until_ended(1)
    assert billed.ending == "client_gone"
    assert billed.output_total == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_pays_for_what_was_generated(
    providers: SimulatedProviders, stream: bool
) -> None:
    body = {
        "model": "gpt-4o",
        "stream": stream,
        "messages": [{"role": "user", "content": "[[sim: words=50 hold=here after=20]]"}],
    }
    with connect(providers) as sock:
        sock.sendall(request_bytes("/openai/v1/chat/completions", body))
        await providers.until_held("here")
    [billed] = await providers.until_ended(1)
    assert (billed.ending, billed.output_total, billed.saw_end) == ("client_gone", 20, False)
    assert billed.input_total > 0


async def test_a_released_stream_goes_on_to_its_end(providers: SimulatedProviders) -> None:
    body = {
        "model": "gpt-4o",
        "stream": True,
        "messages": [{"role": "user", "content": "[[sim: words=5 hold=here hold_headers=door after=2]]"}],
    }
    with connect(providers) as sock:
        sock.sendall(request_bytes("/openai/v1/chat/completions", body))
        await providers.until_held("door")
        providers.release("door")
        await providers.until_held("here")
        assert providers.bill()[0].output_total == 2
        providers.release("here")
        assert hear(sock).body.endswith(b"data: [DONE]\n\n")
    [billed] = await providers.until_ended(1)
    assert (billed.ending, billed.output_total) == ("complete", 5)


def test_paced_events_are_the_same_events(providers: SimulatedProviders) -> None:
    heard = call(providers, "[[sim: words=4 pace_ms=1 delay_ms=1]]", stream=True)
    assert len(events(heard.body)) == 4 + 3
    assert call(providers, "[[sim: words=4 pace_ms=1]]").status == 200
    assert [billed.output_total for billed in providers.bill()] == [4, 4]
