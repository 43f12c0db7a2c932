"""What a command is run with: the environment, where to write, and the gateway to speak to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import typer
from rich.console import Console

from gateway.cli.client import USAGE, Client, CommandFailed

__all__ = ["DEFAULT_URL", "Session", "session_of"]

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_KEY_FILE: Final = "admin-key"


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command. `starters` name what only a gateway can do, as `module:function`."""

    environ: Mapping[str, str]
    starters: Mapping[str, str]
    data: Console = field(default_factory=lambda: Console(soft_wrap=True, highlight=False))
    words: Console = field(default_factory=lambda: Console(stderr=True, soft_wrap=True, highlight=False))

    def client(self) -> Client:
        """The gateway, asked with the administrator's key."""
        return Client(self.url, self._key())

    @property
    def url(self) -> str:
        """Where the gateway is."""
        return self.environ.get("TOLLGATE_URL") or DEFAULT_URL

    def say(self, sentence: str) -> None:
        """A word to the human, which is no data."""
        self.words.print(sentence, markup=False)

    def show_json(self, value: Any) -> None:
        """Data for a program."""
        self.data.print(json.dumps(value, indent=2, ensure_ascii=False), markup=False)

    def show_text(self, text: str) -> None:
        """Data as it is, a line of its own."""
        self.data.print(text, markup=False)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show on a terminal how far it is: whoever works says so."""
        if self.words.is_terminal:
            with self.words.status(what) as status:
                yield lambda words: status.update(words)
        else:
            yield lambda words: None

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show on a terminal that something takes its time."""
        if self.words.is_terminal:
            with self.words.status(what):
                yield
        else:
            yield

    def _key(self) -> str:
        given = self.environ.get("TOLLGATE_ADMIN_KEY") or self._key_of_this_machine()
        if given:
            return given
        raise CommandFailed(
            "There is no admin key to ask with.",
            "Set TOLLGATE_ADMIN_KEY. The first start of a gateway says where it wrote one.",
            USAGE,
        )

    def _key_of_this_machine(self) -> str:
        """The key that the first start wrote, which is nobody else's business: only for a gateway here."""
        if urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1"):
            return ""
        path = Path(self.environ.get("TOLLGATE_SERVER__DATA_DIR") or "data") / _KEY_FILE
        try:
            return path.read_text().strip()
        except OSError:
            return ""


def session_of(context: typer.Context) -> Session:
    """The session of the running command."""
    found = context.find_object(Session)
    assert found is not None, "the command is started with one"
    return found
