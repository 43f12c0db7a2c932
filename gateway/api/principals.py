"""Whose request is it: an admin key's or a virtual key's, on every path that is not the hot one."""

from __future__ import annotations

from starlette.requests import Request

from gateway.clock import Clock
from gateway.domain.errors import Unauthenticated, Unavailable
from gateway.domain.keys import VIRTUAL_PREFIX, fingerprint
from gateway.domain.tenancy import AdminKey, VirtualKey
from gateway.gate.admission import check_caller
from gateway.gate.directory import Caller, Directory
from gateway.gate.inbound import credential_of, fingerprint_of
from gateway.store.admin_keys import admin_by_fingerprint
from gateway.store.engine import Database

__all__ = ["Principals"]


class Principals:
    """Finds who asks by the key a request carries."""

    def __init__(self, directory: Directory, database: Database, clock: Clock) -> None:
        self._directory = directory
        self._database = database
        self._clock = clock
        self._admins: dict[bytes, AdminKey] = {}  # who were good when they asked last

    async def caller(self, request: Request) -> Caller:
        """The virtual key that asks; raise Unauthenticated or Forbidden."""
        text = credential_of(request.headers.raw)
        known = fingerprint_of(text)
        caller = self._directory.caller(known) or await self._directory.find(known)
        if caller is None:
            raise Unauthenticated("invalid_api_key", "The API key is unknown.", hint="Ask for a new one.")
        check_caller(caller, self._clock.now_us())
        return caller

    async def admin(self, request: Request) -> AdminKey:
        """The admin key that asks; raise Unauthenticated, or Unavailable while the database is away."""
        known = fingerprint(credential_of(request.headers.raw))
        admin = await self._database.read(admin_by_fingerprint, known)
        if admin is None:
            self._admins.pop(known, None)
            raise Unauthenticated(
                "invalid_api_key",
                "The admin key is not known, or it is revoked.",
                hint="An owner can make another: POST /admin/admin-keys.",
            )
        self._admins[known] = admin
        return admin

    async def admin_as_known(self, request: Request) -> AdminKey:
        """The same but, while the database is away, by what was true when the key was used last.

        For asking what is not well: just then an administrator has to know.
        """
        try:
            return await self.admin(request)
        except Unavailable:
            admin = self._admins.get(fingerprint(credential_of(request.headers.raw)))
            if admin is None:
                raise
            return admin

    async def anyone(self, request: Request) -> AdminKey | VirtualKey:
        """Either kind of key; raise Unauthenticated or Forbidden."""
        if credential_of(request.headers.raw).startswith(VIRTUAL_PREFIX):
            return (await self.caller(request)).key
        return await self.admin(request)
