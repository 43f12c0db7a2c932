"""Simulated providers: a real HTTP server that answers in each dialect, for demo, tests and benchmark.

It imports nothing else of gateway. Start it with ``python -m gateway.simulators`` or, in a program, with
`SimulatedProviders`; `gateway.simulators.behaviour` says how a call is told what to do.
"""

from gateway.simulators.behaviour import Behaviour, Fault, UsageReport
from gateway.simulators.bill import BilledCall, SeenRequest
from gateway.simulators.server import SimulatedProviders
from gateway.simulators.stage import Played

__all__ = ["Behaviour", "BilledCall", "Fault", "Played", "SeenRequest", "SimulatedProviders", "UsageReport"]
