"""`python -m gateway`, and the `tollgate` command: the command line with what it may start."""

from __future__ import annotations

import os

import sys

from gateway.demo.play import play
from gateway.serving import serve

__all__ = ["main"]


def main() -> int:
    """Serve, until the rest of the command line joins."""
    if "demo" in sys.argv:
        return play(stay="--exit" not in sys.argv)
    return serve(os.environ, None, 1)


if __name__ == "__main__":
    raise SystemExit(main())
