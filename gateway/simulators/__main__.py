"""``python -m gateway.simulators --port 0``: run the simulated providers and print where they are."""

from __future__ import annotations

import argparse
import asyncio
import sys

from gateway.simulators.app import PREFIXES
from gateway.simulators.server import SimulatedServer, listening_socket
from gateway.simulators.stage import Stage


def main() -> None:
    """Serve until interrupted. The first line of output is the address, the next ones the providers'."""
    parser = argparse.ArgumentParser(prog="python -m gateway.simulators", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="port to listen on; 0 picks a free one")
    chosen = parser.parse_args()
    sock = listening_socket(chosen.host, chosen.port)
    host, port = sock.getsockname()[:2]
    lines = [
        f"http://{host}:{port}",
        *(f"  {name:10} http://{host}:{port}{path}" for name, path in PREFIXES.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    server = SimulatedServer(Stage())
    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[sock]))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
