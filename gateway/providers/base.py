"""What the gateway knows of a provider: addresses, credentials, habits, and what its refusals mean.

Adding a provider is one new file here with a `PROVIDER` constant; the registry finds it and the contract
suite runs on it. A provider that speaks a known format at another address needs no file at all: see
`openai_compatible`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from gateway.domain.errors import BadRequest
from gateway.providers.refusals import Refusal, read_status

__all__ = ["Headers", "OnAbort", "Provider", "api_key_header", "bearer", "join_path"]

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case
OnAbort = Literal[
    "drain",  # read the upstream to its end for the exact usage (bounded in number and time by the gate)
    "stop",  # close the connection: the provider stops working, the rest is counted
]


def bearer(credential: str) -> Headers:
    """RFC 6750 2.1."""
    return [(b"authorization", b"Bearer " + _token(credential))]


def api_key_header(name: bytes) -> Callable[[str], Headers]:
    """A credential in a header of its own."""
    return lambda credential: [(name, _token(credential))]


def join_path(base_path: str, template: str, model: str, api_version: str | None) -> str:
    """The usual address: the base URL's path, then the format's, the model in it percent-encoded."""
    path = base_path + template.replace("{model}", quote(model, safe=""))
    return f"{path}?api-version={quote(api_version, safe='')}" if api_version else path


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Immutable; what an operator configures (credential, base URL) is not in it.

    `base_url` is where the provider's own SDK points, "" when every customer has an address of their own.
    `credential_env` is the environment variable its SDK reads, "" when there is none. `price_providers`
    are its ids in the price catalogue, best first. `paths` maps each format served natively to the
    path behind the base URL; `{model}` stands for the model. `default_headers` go up unless the client
    sent its own. `on_abort` is what to do when the client of a call has left.
    """

    name: str
    title: str
    base_url: str
    credential_env: str
    price_providers: tuple[str, ...]
    paths: Mapping[str, str]
    authorize: Callable[[str], Headers]
    on_abort: OnAbort
    default_headers: tuple[tuple[bytes, bytes], ...] = ()
    locate: Callable[[str, str, str, str | None], str] = join_path
    read_refusal: Callable[[int, Headers, bytes], Refusal] = field(default=read_status)

    def path(self, format_name: str, base_path: str, model: str, api_version: str | None = None) -> str:
        """The request path, query included, of a call in a format this provider serves.

        `base_path` is the path of the configured base URL, without a last slash.
        """
        return self.locate(base_path, self.paths[format_name], model, api_version)


def _token(credential: str) -> bytes:
    """A header value. Raises BadRequest, without the credential in its words."""
    if not (credential.isascii() and credential.isprintable() and credential.strip() == credential != ""):
        raise BadRequest(
            "invalid_value",
            "The credential holds a blank at its ends, a line break or a character outside ASCII.",
            hint="Copy the credential again, without quotes or line breaks.",
        )
    return credential.encode()
