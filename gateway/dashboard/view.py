"""What a page is given, and what it answers with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.dashboard.inside import Inside, Refused
from gateway.dashboard.sessions import Session, is_ours

__all__ = ["HEADERS", "Handler", "Page", "View", "form_of", "go", "html"]

# No script, style, frame or form of anybody else's; nothing written into a page by mistake can run.
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
MOST_FORM_BYTES: Final = 64 * 1024
MOST_FIELDS: Final = 100
# What a page may say after a form was sent, by the word in its address.
DONE: Final[Mapping[str, str]] = {
    "account": "The account is there.",
    "active": "It is active again.",
    "disabled": "It is disabled; nothing is sent there.",
    "blocked": "It is blocked; its traffic stops within a second.",
    "budget": "The budget is there.",
    "cap": "The cap is changed.",
    "increase": "This window has more to spend.",
    "replayed": "It is sent again.",
    "revoked": "It is revoked.",
    "removed": "It is removed; its history stays.",
    "tested": "A test event is on its way.",
}


@dataclass(slots=True)
class View:
    """One request of somebody who is logged in."""

    request: Request
    session: Session
    api: Inside
    templates: Environment
    error: Refused | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def query(self) -> Mapping[str, str]:
        """The page's address after the question mark."""
        return self.request.query_params

    @property
    def timezone(self) -> str:
        """The zone that instants are shown in."""
        return self.query.get("timezone") or "UTC"

    async def form(self) -> dict[str, str]:
        """The fields of a form of ours that were filled in; raise Refused for anybody else's."""
        sent = await form_of(self.request)
        if not is_ours(self.request, self.session, sent.pop("token", "")):
            raise Refused(403, "This form is not from this session.", "Load the page again.", None)
        return {name: value for name, value in sent.items() if value}

    def render(self, template: str, /, **values: Any) -> Response:
        """A page; with what was refused on top, when something was."""
        known = {"view": self, "error": self.error, "done": DONE.get(self.query.get("done", ""))}
        text = self.templates.get_template(template).render(**known, **self.values, **values)
        return html(text, 200 if self.error is None else self.error.status)

    def link(self, **changes: str | None) -> str:
        """This page's address with some of its parameters changed."""
        query = {name: value for name, value in {**self.query, **changes}.items() if value and name != "done"}
        return f"{self.request.url.path}?{urlencode(query)}" if query else self.request.url.path


Handler = Callable[[View], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """One address under `/dashboard`. `sent` handles the page's form; what that refuses is shown on it."""

    path: str
    shown: Handler
    sent: Handler | None = None


async def form_of(request: Request) -> dict[str, str]:
    """A form's fields; raise Refused for one that no page of ours has."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            raise Refused(413, "The form is too large.", "Send less.", None)
    try:
        pairs = parse_qsl(body.decode(), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "The form cannot be read.", "Load the page again.", None) from None
    return {name: value.strip() for name, value in pairs}


def go(path: str, done: str) -> Response:
    """On to a page, which says what was done."""
    return RedirectResponse(f"{path}?done={done}", 303, headers=HEADERS)


def html(text: str, status: int = 200) -> Response:
    """A page with the headers that every page has."""
    return Response(text, status, headers=HEADERS, media_type="text/html")
