"""`python -m gateway`, and the `tollgate` command: the command line with what it may start."""

from __future__ import annotations

import os
import sys

from gateway.cli.main import main as run

__all__ = ["main"]

# Named, not imported: the command line answers `--help` long before a gateway could be loaded.
STARTERS = {"serve": "gateway.serving:serve", "demo": "gateway.demo.play:play"}


def main() -> int:
    """Run the command of this process's arguments; the exit status."""
    return run(sys.argv[1:], os.environ, STARTERS)


if __name__ == "__main__":
    raise SystemExit(main())
