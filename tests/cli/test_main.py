"""How a run of the command ends: exit status, words on stderr, data on stdout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.admin.conftest import OWNER, Plane
from tests.cli.conftest import Tollgate

ENTRY = "import os, sys; from gateway.cli.main import main; sys.exit(main(sys.argv[1:], os.environ, {}))"


def test_help_lists_every_group(run: Tollgate) -> None:
    result = run("--help", environ={})
    assert result.status == 0
    for name in ("serve", "demo", "report", "accounts", "keys", "budgets", "grants", "prices", "audit", "db"):
        assert f"  {name} " in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("accounts", "create"),
        ("accounts", "create", "a", "--colour", "red"),
        ("keys", "rotate", "key_x", "--grace", "soon"),
        ("keys", "create", "acct_x", "n", "--tag", "novalue"),
        ("audit", "list", "--last", "0"),
        ("prices", "set", "gpt-4.1", "output", "8"),
        ("prices", "import", "/nowhere/prices.csv"),
    ],
)
def test_wrong_usage_is_2_and_says_why_on_stderr(run: Tollgate, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, environ={"TOLLGATE_ADMIN_KEY": OWNER, "TOLLGATE_URL": "http://127.0.0.1:9"})
    assert (result.status, result.out) == (2, "")
    assert result.err


def test_a_problem_is_told_with_its_hint(tollgate: Tollgate) -> None:
    missing = tollgate("accounts", "block", "acme/search", status=1)
    assert "There is no account acme/search." in missing.err
    assert "tollgate accounts list" in missing.err
    assert missing.out == ""
    wrong = tollgate("accounts", "create", "acme", "--timezone", "Berlin", status=2)
    assert "Europe/Berlin" in wrong.err
    assert "no time zone" in wrong.err


def test_a_gateway_that_is_not_there_is_1(run: Tollgate) -> None:
    result = run(
        "accounts", "list", environ={"TOLLGATE_URL": "http://127.0.0.1:9", "TOLLGATE_ADMIN_KEY": OWNER}
    )
    assert result.status == 1
    assert "tollgate serve" in result.err
    assert (
        run("accounts", "list", environ={"TOLLGATE_URL": "nowhere", "TOLLGATE_ADMIN_KEY": OWNER}).status == 2
    )


def test_the_key_is_the_environments_or_this_machines(run: Tollgate, plane: Plane, tmp_path: Path) -> None:
    environ = {"TOLLGATE_URL": f"http://127.0.0.1:{plane.port}", "TOLLGATE_SERVER__DATA_DIR": str(tmp_path)}
    without = run("accounts", "list", environ=environ)
    assert without.status == 2
    assert "TOLLGATE_ADMIN_KEY" in without.err
    (tmp_path / "admin-key").write_text(f"{OWNER}\n")
    assert run("accounts", "list", environ=environ).status == 0
    elsewhere = {**environ, "TOLLGATE_URL": "http://gateway.example:8080"}
    assert run("accounts", "list", environ=elsewhere).status == 2


def test_a_wrong_key_is_told(tollgate: Tollgate) -> None:
    result = tollgate("accounts", "list", status=1, TOLLGATE_ADMIN_KEY="some-other-key-16")
    assert "admin key" in result.err


@pytest.mark.slow
class TestProcess:
    def command(self, plane: Plane, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", ENTRY, *arguments],
            env={
                **os.environ,
                "TOLLGATE_URL": f"http://127.0.0.1:{plane.port}",
                "TOLLGATE_ADMIN_KEY": OWNER,
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def test_colours_are_for_terminals_and_those_who_want_them(self, plane: Plane) -> None:
        plane.post("/admin/accounts", {"name": "acme"})
        assert "\x1b[" not in self.command(plane, "accounts", "list").stdout
        forced = self.command(plane, "accounts", "list", FORCE_COLOR="1")
        assert "\x1b[" in forced.stdout
        assert "\x1b[3" not in self.command(plane, "accounts", "list", FORCE_COLOR="1", NO_COLOR="1").stdout

    def test_light_commands_load_no_sql(self) -> None:
        program = (
            "import sys; from gateway.cli.main import main; main(['--help'], {}, {});"
            "heavy = ('sqlalchemy', 'starlette', 'uvicorn', 'tiktoken');"
            "print([name for name in heavy if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_reader_that_has_seen_enough_is_no_crash(self, plane: Plane) -> None:
        for number in range(50):
            plane.post("/admin/accounts", {"name": f"account {number}", "metadata": {"x": "y" * 4000}})
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'"{sys.executable}" -c "$ENTRY" accounts list --json | head -n 1; exit 0',
            ],
            env={
                **os.environ,
                "ENTRY": ENTRY,
                "TOLLGATE_URL": f"http://127.0.0.1:{plane.port}",
                "TOLLGATE_ADMIN_KEY": OWNER,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("[\n", "")
