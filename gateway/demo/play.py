"""The script of the demo: eight scenes, then the gateway stays up to be tried."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.padding import Padding

from gateway.demo import show
from gateway.demo.broken_line import BrokenAnswer, follow
from gateway.demo.http import Api
from gateway.demo.stage import ADMIN_KEY, Stage, staged
from gateway.demo.streams import Ask, Stream, run
from gateway.demo.target import AlertTarget, alert_target, is_genuine, wait_for

__all__ = ["play"]

BUDGET = Decimal("0.006")
ALERT_AT = (50, 80)
EVENTS = ("budget.threshold_reached", "budget.exceeded")
ALERT_LIMIT_S = 5.0
SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")
PACE_MS = 30
HASTE_MS = 2
REFRESH_PER_S = 12
FIRST = (
    Ask("gpt-4.1", "Why does a bridge sing in the wind?", 80),
    Ask("gpt-4.1-mini", "Explain a bill of lading to a child.", 80),
    Ask("deepseek-v3.2", "What is a good name for a lighthouse?", 80),
    Ask("gpt-4.1", "Two reasons to keep a paper map.", 80),
)
RUSH = tuple(
    Ask("gpt-4.1", f"Caller {number} of twelve asks the same question.", 100) for number in range(1, 13)
)

BROKEN = {
    "model": "gpt-4.1-mini",
    "messages": [{"role": "user", "content": "Tell a ferryman's story, slowly."}],
    "max_tokens": 80,
}
# The numbers of the frames after which its line is cut, and for how long it stays so.
CUTS = (8, 18, 28)
CUT_FOR_S = 0.4

LAST = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Once more."}], "max_tokens": 60}


def play(*, stay: bool) -> int:
    """Play it; with `stay` the gateway runs until Ctrl-C. The exit status."""
    console = Console()
    try:
        with alert_target() as target, staged() as stage:
            scenes(stage, target, console)
            if stay:
                wait_for_ctrl_c(stage, console)
    except KeyboardInterrupt:
        console.print("\nStopped.")
    except RuntimeError as error:
        console.print(f"[bold red]{error}")
        return 1
    return 0


def scenes(stage: Stage, target: AlertTarget, console: Console) -> None:
    """All scenes in order."""
    admin = stage.api()
    heading(console, "1. A gateway, with nothing but Python")
    console.print(
        f"Up on [bold]{stage.url}[/] after {stage.ready_after_s:.1f} s: SQLite, prices loaded, journal open."
    )
    console.print("Its providers are simulated: real HTTP servers in OpenAI's and DeepSeek's dialects.")

    heading(console, "2. A team, a budget, a key, a webhook")
    key = furnish(admin, console)
    secret = subscribe(admin, target, console)
    caller = stage.api(key)
    prices = output_prices(caller)

    heading(console, "3. Four calls at once, tokens and cost as they come")
    stage.providers.defaults(pace_ms=PACE_MS)
    first = watch(caller, FIRST, prices, Decimal(0), console)
    spent = total(first)

    heading(console, "4. A line that is cut three times")
    spent += lose_nothing(stage, caller, key, console)

    heading(console, "5. Twelve callers rush at what is left")
    rush = watch(caller, RUSH, prices, spent, console)
    refused = [stream for stream in rush if stream.error]
    admitted = len(rush) - len(refused)
    console.print(
        f"{admitted} were admitted. {len(refused)} were refused before a token was bought: "
        "their worst case did not fit beside the others'."
    )
    spent += total(rush)

    heading(console, "6. One caller goes on until the money is spent")
    stage.providers.defaults(pace_ms=HASTE_MS)
    spent += spend_the_rest(caller, console)

    heading(console, "7. What the team was told meanwhile")
    show_alerts(target, secret, console)

    heading(console, "8. What it cost, three times the same")
    close_the_books(admin, caller, spent, console)


def furnish(admin: Api, console: Console) -> str:
    """Make what a team needs; its key."""
    account = admin.post("/admin/accounts", {"name": "search", "kind": "team", "cost_center": "4711"}).body
    budget = {
        "name": "search, this month",
        "account": account["id"],
        "unit": "usd",
        "cap": str(BUDGET),
        "period": "month",
        "alert_at": list(ALERT_AT),
    }
    admin.post("/admin/budgets", budget)
    key = admin.post("/admin/keys", {"account": account["id"], "name": "demo", "sees_account": True}).body
    console.print(
        f"Team [bold]search[/], a hard budget of [bold]{show.usd(BUDGET)}[/] a month, "
        f"key [bold]{key['hint']}[/]."
    )
    console.print("An OpenAI SDK needs one line changed:")
    console.print(Padding('[cyan]client = OpenAI(base_url=".../v1", api_key="sk-tg-...")', (0, 2)))
    text: str = key["key"]
    return text


def subscribe(admin: Api, target: AlertTarget, console: Console) -> str:
    """Have the budget's alerts sent to a server of ours; the secret that signs them."""
    webhook = {"target": target.url, "events": list(EVENTS)}
    secret: str = admin.post("/admin/webhooks", webhook).body["secret"]
    percents = " and ".join(f"{percent} %" for percent in ALERT_AT)
    console.print(f"Alerts at {percents}, and when calls are refused, go to [bold]{target.url}[/], signed.")
    return secret


def show_alerts(target: AlertTarget, secret: str, console: Console) -> None:
    """What the target got, each signature recomputed with nothing but the secret."""
    wait_for(target, len(ALERT_AT) + 1, ALERT_LIMIT_S)
    heard = list(target.heard.values())
    if not heard:
        raise RuntimeError("no alert came")
    now_s = time.time()
    console.print(show.alerts([(each.message, is_genuine(secret, each, now_s)) for each in heard]))
    console.print("The last one's headers, which any Standard Webhooks library verifies:")
    console.print(Padding(show.headers(heard[-1].headers, SIGNED), (0, 2)))


def output_prices(caller: Api) -> dict[str, Decimal]:
    """USD for each output token, by model, as the gateway publishes them."""
    models = {ask.model for ask in (*FIRST, *RUSH)}
    found = {}
    for model in models:
        rates = caller.get(f"/v1/models/{model}").body["usd_per_million"]
        found[model] = Decimal(rates["output"]) / 1_000_000
    return found


def watch(
    caller: Api, asks: Sequence[Ask], prices: dict[str, Decimal], spent: Decimal, console: Console
) -> list[Stream]:
    """Run the calls and draw them until all have ended."""
    streams, threads = run(caller, asks, prices)
    with Live(console=console, refresh_per_second=REFRESH_PER_S) as live:
        while any(thread.is_alive() for thread in threads):
            live.update(show.streams_table(streams, BUDGET, spent))
            time.sleep(1 / REFRESH_PER_S)
        live.update(show.streams_table(streams, BUDGET, spent))
    console.print()
    return streams


def total(streams: Sequence[Stream]) -> Decimal:
    """What the calls cost by their own last chunks."""
    return sum((stream.cost or Decimal(0) for stream in streams), Decimal(0))


def lose_nothing(stage: Stage, caller: Api, key: str, console: Console) -> Decimal:
    """One answer over a WebSocket that breaks, and is taken up again; what it cost."""
    answer = BrokenAnswer()
    with Live(console=console, refresh_per_second=REFRESH_PER_S) as live:
        for _ in follow(stage.port, key, BROKEN, CUTS, answer):
            live.update(show.broken_answer(answer))
            if answer.is_cut:
                time.sleep(CUT_FOR_S)
    console.print()
    again = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in caller.events(answer.call))
    same = "the same to the letter" if again == answer.text else "[bold red]something else[/]"
    receipt = caller.get(f"/v1/calls/{answer.call}").body
    console.print(f"Read once more, as server-sent events: {same}. One call, booked once: ", end="")
    console.print(f"{receipt['usage']['output']} tokens, [bold]{show.usd(receipt['cost_usd'])}[/].")
    return answer.cost or Decimal(0)


def spend_the_rest(caller: Api, console: Console) -> Decimal:
    """Call after call, until the budget refuses; what they cost."""
    cost, calls = Decimal(0), 0
    while True:
        answer = caller.post("/v1/chat/completions", LAST)
        if answer.status != 200:
            break
        cost += Decimal(answer.headers["x-tollgate-cost-usd"])
        calls += 1
    console.print(f"{calls} more calls, each with its cost in a header. The next one gets:")
    console.print(show.refusal(answer.status, answer.body["error"]))
    return cost


def close_the_books(admin: Api, caller: Api, seen: Decimal, console: Console) -> None:
    """Report, budget and the sum of what the callers were told: one figure."""
    report = wait_for_report(admin, seen)
    console.print(show.spend(report))
    standing = caller.get("/v1/key").body["budgets"][0]
    for name, figure in (
        ("told to the callers, chunk by chunk", seen),
        ("the report's total", Decimal(report["total"]["cost"])),
        ("the budget's counter", Decimal(standing["spent"])),
    ):
        console.print(f"  {show.usd(figure)}  {name}")
    console.print(f"  {show.usd(standing['held'])}  still held")
    calls = admin.get("/reports/calls?limit=1").body["rows"]
    if calls:
        console.print(show.receipt(caller.get(f"/v1/calls/{calls[0]['call']}").body))


def wait_for_report(admin: Api, expected: Decimal) -> dict[str, Any]:
    """The spend report once everything is posted: a moment after the last call."""
    deadline = time.monotonic() + 5
    while True:
        report: dict[str, Any] = admin.get("/reports/spend?group_by=account,model").body
        if Decimal(report["total"]["cost"]) == expected or time.monotonic() > deadline:
            return report
        time.sleep(0.05)


def wait_for_ctrl_c(stage: Stage, console: Console) -> None:
    """Leave the gateway to whoever is watching."""
    heading(console, "It is yours")
    console.print(f"Gateway [bold]{stage.url}[/], owner key [bold]{ADMIN_KEY}[/]. Ctrl-C ends it. Try:")
    console.print(f"The dashboard is at [bold]{stage.url}/dashboard/[/]; log in with the owner key.")
    bearer = f'-H "authorization: Bearer {ADMIN_KEY}"'
    for path in ("/reports/usage?group_by=model", "/admin/budgets", "/reports/calls?format=csv"):
        console.print(Padding(f'curl {bearer} "{stage.url}{path}"', (0, 2)), style="cyan", highlight=False)
    threading.Event().wait()


def heading(console: Console, text: str) -> None:
    """A scene begins."""
    console.print()
    console.rule(f"[bold]{text}", align="left")
