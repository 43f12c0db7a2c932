"""The control interface: how a test or the demo steers a simulator that runs in another process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.simulators.behaviour import BehaviourError
from gateway.simulators.stage import Played, Stage

__all__ = ["control_routes"]

_Act = Callable[[Request], Awaitable[Any]]


def control_routes(stage: Stage) -> list[Route]:
    """Everything under ``/control`` and the counters of ``/stats``."""
    control = _Control(stage)
    acts: list[tuple[str, str, _Act]] = [
        ("POST", "/control/defaults", control.defaults),
        ("POST", "/control/keys", control.keys),
        ("POST", "/control/deployments", control.deployments),
        ("POST", "/control/play", control.play),
        ("POST", "/control/reset", control.reset),
        ("POST", "/control/release", control.release),
        ("GET", "/control/held", control.held),
        ("GET", "/control/bill", control.bill),
        ("GET", "/control/requests", control.requests),
        ("GET", "/stats", control.stats),
    ]
    return [Route(path, _answering(act), methods=[method]) for method, path, act in acts]


def _answering(act: _Act) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def endpoint(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await act(request))
        except (BehaviourError, ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return endpoint


class _Control:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def defaults(self, request: Request) -> Any:
        """Behaviour of later calls: the fields of Behaviour, and ``provider`` to set one provider's only."""
        values: dict[str, Any] = await request.json()
        provider = values.pop("provider", "*")
        self._stage.set_defaults(provider, values)
        return {"provider": provider, "defaults": values}

    async def keys(self, request: Request) -> Any:
        """``{"openai": ["sk-..."]}``: the only keys a provider accepts."""
        for provider, keys in (await request.json()).items():
            self._stage.keys[provider] = frozenset(keys)
        return {"providers": sorted(self._stage.keys)}

    async def deployments(self, request: Request) -> Any:
        """``{"my-deployment": "gpt-4o"}``: Azure deployments beside those named like a model."""
        self._stage.deployments.update(await request.json())
        return self._stage.deployments

    async def play(self, request: Request) -> Any:
        """``{"provider": ..., "body": ...}`` and the other fields of Played: the next call's answer."""
        told: dict[str, Any] = await request.json()
        provider = told.pop("provider")
        self._stage.played[provider].append(Played(**told | {"body": str(told["body"]).encode()}))
        return {"provider": provider, "waiting": len(self._stage.played[provider])}

    async def reset(self, request: Request) -> Any:
        """As new."""
        self._stage.reset()
        return {}

    async def release(self, request: Request) -> Any:
        """``{"name": "x"}``: let calls through that hold at x."""
        name = str((await request.json())["name"])
        self._stage.holds.release(name)
        return {"released": name}

    async def held(self, request: Request) -> Any:
        """``?name=x&count=1``: answers once so many calls have arrived at x."""
        name, count = request.query_params["name"], int(request.query_params.get("count", "1"))
        await self._stage.until(lambda: self._stage.holds.waiting(name) >= count)
        return {"name": name, "arrived": self._stage.holds.waiting(name)}

    async def bill(self, request: Request) -> Any:
        """``?ended=N`` waits until so many calls have ended; ``?provider=`` picks one provider's."""
        ended = int(request.query_params.get("ended", "0"))
        await self._stage.until(lambda: self._stage.bill.ended() >= ended)
        provider = request.query_params.get("provider")
        calls = [call for call in self._stage.bill.calls() if provider in (None, call.provider)]
        return {
            "calls": [call.as_json() for call in calls],
            "input_total": sum(call.input_total for call in calls),
            "output_total": sum(call.output_total for call in calls),
        }

    async def requests(self, request: Request) -> Any:
        """``?last=N``: the latest requests, oldest first."""
        last = request.query_params.get("last")
        seen = self._stage.transcript.last(None if last is None else int(last))
        return {"requests": [one.as_json() for one in seen]}

    async def stats(self, request: Request) -> Any:
        """Counters by the names of the benchmark's own mock."""
        calls = self._stage.bill.calls()
        return {
            "requests": len(calls),
            "streams": sum(call.stream for call in calls),
            "chunks": sum(call.events for call in calls),
            "connections": self._stage.connections,
            "aborted": sum(call.ending == "client_gone" for call in calls),
        }
