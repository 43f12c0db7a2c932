"""Every address of the dashboard, and what stands before each: a session, our own headers, no surprises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.dashboard import wording
from gateway.dashboard.inside import Inside, Refused
from gateway.dashboard.pages import accounts, alerts, budgets, calls, explore, keys, live, overview, prices
from gateway.dashboard.sessions import Door, Seal, is_same_site
from gateway.dashboard.view import HEADERS, Handler, Page, View, form_of, html

__all__ = ["dashboard"]

HERE: Final = Path(__file__).parent
ROOT: Final = "/dashboard"
PAGES: Final[tuple[Page, ...]] = (
    *overview.PAGES,
    *explore.PAGES,
    *live.PAGES,
    *budgets.PAGES,
    *accounts.PAGES,
    *keys.PAGES,
    *calls.PAGES,
    *prices.PAGES,
    *alerts.PAGES,
)
MENU: Final = (
    ("", "Overview"),
    ("explore", "Explore"),
    ("live", "Live"),
    ("budgets", "Budgets"),
    ("accounts", "Accounts"),
    ("keys", "Keys"),
    ("calls", "Calls"),
    ("prices", "Prices"),
    ("alerts", "Alerts"),
)


def dashboard(seal: Seal, monotonic: Callable[[], float]) -> Sequence[BaseRoute]:
    """The routes, for the application's list; the application they are in is the API they ask."""
    desk = _Desk(seal, monotonic)
    routes: list[BaseRoute] = [
        Route(ROOT, lambda request: RedirectResponse(f"{ROOT}/", 308)),
        Route(f"{ROOT}/login", desk.login, methods=["GET", "POST"]),
        Route(f"{ROOT}/logout", desk.logout, methods=["POST"]),
        Mount(f"{ROOT}/static", _Files(directory=HERE / "static")),
    ]
    for page in PAGES:
        methods = ["GET"] if page.sent is None else ["GET", "POST"]
        routes.append(Route(f"{ROOT}{page.path}", desk.endpoint(page), methods=methods))
    return routes


class _Files(StaticFiles):
    """Style sheet, script and icon; they change only with a release."""

    def file_response(self, *args: object, **options: object) -> Response:
        """The file, with the headers that every answer has."""
        response = super().file_response(*args, **options)  # type: ignore[arg-type]
        if isinstance(response, FileResponse):
            response.headers.update({**HEADERS, "cache-control": "public, max-age=300"})
        return response


class _Desk:
    """Answers a request for a page."""

    def __init__(self, seal: Seal, monotonic: Callable[[], float]) -> None:
        self._door = Door(seal, monotonic)
        self._templates = _templates()

    def endpoint(self, page: Page) -> Callable[[Request], object]:
        """The endpoint of one page."""

        async def answer(request: Request) -> Response:
            session = self._door.session(request)
            if session is None:
                return RedirectResponse(f"{ROOT}/login", 303, headers=HEADERS)
            view = View(request, session, Inside(request.app, session.key), self._templates)
            handler = page.shown if page.sent is None or request.method != "POST" else page.sent
            return await self._answer(view, handler, page)

        return answer

    async def _answer(self, view: View, handler: Handler, page: Page) -> Response:
        try:
            return await handler(view)
        except Refused as refused:
            if refused.status == 401:
                response = RedirectResponse(f"{ROOT}/login", 303, headers=HEADERS)
                self._door.let_out(response)
                return response
            view.error = refused
        if handler is page.sent:
            # What the form asked for was refused: the page again, with the reason on top.
            return await self._answer(view, page.shown, page)
        return view.render("problem.html")

    async def login(self, request: Request) -> Response:
        """The form; or, when it is sent with a good key, a session."""
        if request.method != "POST":
            return self._form()
        if not is_same_site(request):
            return self._form(403, "This form is not from this site.", "Load the page again.")
        if self._door.is_besieged:
            return self._form(429, "Too many wrong keys were tried.", "Wait a minute.")
        try:
            key = (await form_of(request)).get("key", "")
            await Inside(request.app, key).get("/admin/accounts", limit=1)
        except Refused as refused:
            if refused.status == 401:
                self._door.was_wrong()
            return self._form(refused.status, refused.message, refused.hint)
        response = RedirectResponse(f"{ROOT}/", 303, headers=HEADERS)
        self._door.let_in(response, request, key)
        return response

    async def logout(self, request: Request) -> Response:
        """End the session."""
        response = RedirectResponse(f"{ROOT}/login", 303, headers=HEADERS)
        if is_same_site(request):
            self._door.let_out(response)
        return response

    def _form(self, status: int = 200, message: str = "", hint: str = "") -> Response:
        text = self._templates.get_template("login.html").render(message=message, hint=hint)
        return html(text, status)


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": wording.amount,
        "moment": wording.moment,
        "money": wording.money,
        "number": wording.number,
    }
    environment.globals |= {"menu": MENU, "here": _is_here}
    return environment


def _is_here(view: View, path: str) -> bool:
    step = view.request.url.path.removeprefix(f"{ROOT}/").partition("/")[0]
    return step == path
