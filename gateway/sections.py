"""What can be set, section by section. Every setting has a sentence of its own (`Meta.description`)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "AccountSettings",
    "BreakerSettings",
    "DatabaseSettings",
    "LedgerSettings",
    "LimitSettings",
    "PriceSettings",
    "ProviderSettings",
    "ResumeSettings",
    "RetrySettings",
    "RouteSettings",
    "ServerSettings",
    "TenancySettings",
    "UpstreamSettings",
    "WebhookSettings",
]


class ServerSettings(msgspec.Struct, frozen=True):
    """Where the gateway listens and what it accepts."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8080
    data_dir: Annotated[str, Meta(description="Journals, the embedded database, key files.")] = "data"
    max_body_bytes: Annotated[
        int, Meta(description="Largest request body; a larger one is 413.", ge=1024)
    ] = 32 * 1024 * 1024
    max_header_bytes: Annotated[
        int, Meta(description="Largest request head; a larger one is 431.", ge=1024)
    ] = 64 * 1024
    max_connections: Annotated[
        int, Meta(description="Connections at once; one more is answered 503.", ge=1)
    ] = 20_000
    header_timeout_s: Annotated[
        float, Meta(description="Seconds a client may take to send a request head.", gt=0)
    ] = 15.0
    body_timeout_s: Annotated[
        float,
        Meta(description="Seconds for each 16 KiB of a request's body; a slower one is closed.", gt=0),
    ] = 30.0
    keep_alive_s: Annotated[
        int, Meta(description="Seconds an idle connection is kept, or an answer may lie unread.", ge=1)
    ] = 75
    drain_s: Annotated[int, Meta(description="Seconds calls may take to finish after SIGTERM.", ge=0)] = 60
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of pages that may open sockets; * is any, for the key is no cookie."),
    ] = ("*",)
    advertise: Annotated[
        str,
        Meta(
            description="Where other machines on the same database reach this one, such as http://10.0.0.5:8080."
        ),
    ] = ""


class ResumeSettings(msgspec.Struct, frozen=True):
    """How long, and in how much memory, a call outlives its connection."""

    grace_s: Annotated[
        float, Meta(description="Seconds a call goes on after its last connection left.", ge=0)
    ] = 60.0
    keep_s: Annotated[
        float, Meta(description="Seconds the answer of a call that ended can be had again.", ge=0)
    ] = 600.0
    max_call_bytes: Annotated[int, Meta(description="Memory for the answer of one call.", ge=65_536)] = (
        4 * 1024 * 1024
    )
    max_bytes: Annotated[
        int, Meta(description="Memory for all answers of a worker; the oldest that ended go first.", ge=0)
    ] = 256 * 1024 * 1024


class DatabaseSettings(msgspec.Struct, frozen=True):
    """Where the ledger is kept."""

    url: Annotated[
        str,
        Meta(description="sqlite:///path or postgresql://...; empty: SQLite in the data directory."),
    ] = ""


class ProviderSettings(msgspec.Struct, frozen=True):
    """One provider. The name of the section is the provider's name; an unknown name is OpenAI-compatible."""

    base_url: Annotated[
        str, Meta(description="Where its own SDK's base URL ends; empty: the public one.")
    ] = ""
    credential: Annotated[
        str, Meta(description="The provider's secret; empty: off, or the SDK's variable.")
    ] = ""
    api_version: Annotated[str, Meta(description="Azure OpenAI: the api-version query parameter.")] = ""
    prices_of: Annotated[
        str, Meta(description="Take the prices of this provider; empty: those under its own name.")
    ] = ""
    on_abort: Annotated[
        Literal["", "drain", "stop"],
        Meta(
            description="When a client leaves: read the upstream to its end, or stop it; empty: the default."
        ),
    ] = ""
    connect_timeout_s: Annotated[float, Meta(description="Seconds to connect.", gt=0)] = 10.0
    first_byte_timeout_s: Annotated[
        float, Meta(description="Seconds until the answer begins; reasoning models think long.", gt=0)
    ] = 600.0
    idle_timeout_s: Annotated[float, Meta(description="Seconds of silence within an answer.", gt=0)] = 300.0
    max_connections: Annotated[int, Meta(description="Connections to it at once, per worker.", ge=1)] = 2000
    weight: Annotated[
        int, Meta(description="Its share of the calls among upstreams of the same priority.", ge=1)
    ] = 1
    priority: Annotated[
        int, Meta(description="Lower ones are used first, higher ones when those fail.", ge=0)
    ] = 0


class UpstreamSettings(msgspec.Struct, frozen=True):
    """One more upstream of a provider: another region, address or credential."""

    provider: Annotated[str, Meta(description="The provider it belongs to.")] = ""
    base_url: Annotated[str, Meta(description="Its address; empty: the provider's.")] = ""
    credential: Annotated[str, Meta(description="Its secret; empty: the provider's.")] = ""
    api_version: Annotated[str, Meta(description="Its api-version; empty: the provider's.")] = ""
    weight: Annotated[
        int, Meta(description="Its share of the calls among upstreams of the same priority.", ge=1)
    ] = 1
    priority: Annotated[
        int, Meta(description="Lower ones are used first, higher ones when those fail.", ge=0)
    ] = 0


class RouteSettings(msgspec.Struct, frozen=True):
    """Where calls for one name go. Without a route a model goes to every upstream of its provider."""

    upstreams: Annotated[
        tuple[str, ...],
        Meta(description="Providers or upstreams that serve it, each as `name` or `name/model`."),
    ] = ()
    fallbacks: Annotated[
        tuple[str, ...],
        Meta(description="Models to go on with when none of the upstreams could serve it."),
    ] = ()


class RetrySettings(msgspec.Struct, frozen=True):
    """When a call is tried again that came to nothing."""

    attempts: Annotated[int, Meta(description="Attempts of one call; 1: never again.", ge=1, le=10)] = 3
    within_s: Annotated[
        float, Meta(description="Seconds after its arrival in which an attempt may still begin.", ge=0)
    ] = 30.0
    backoff_s: Annotated[
        float,
        Meta(description="The longest first wait for the same upstream; it doubles each time.", ge=0),
    ] = 0.5
    longest_wait_s: Annotated[
        float, Meta(description="An upstream that asks for a longer wait is not waited for.", ge=0)
    ] = 5.0


class BreakerSettings(msgspec.Struct, frozen=True):
    """When calls go around an upstream that fails."""

    failures: Annotated[int, Meta(description="Failures in a row that open it.", ge=1)] = 5
    open_s: Annotated[float, Meta(description="Seconds until one call may try it again.", ge=0)] = 15.0


class PriceSettings(msgspec.Struct, frozen=True):
    """What happens to calls that nobody has priced."""

    unpriced: Annotated[
        Literal["refuse", "ceiling", "flag"],
        Meta(description="A model without a price: refuse it, charge the ceiling, or charge 0 and flag it."),
    ] = "refuse"
    ceiling_usd_per_million: Annotated[
        str, Meta(description="What a token of an unpriced model costs under `ceiling`, per million.")
    ] = "100"


class LimitSettings(msgspec.Struct, frozen=True):
    """Bounds on calls."""

    new_names_per_hour: Annotated[
        int,
        Meta(
            description="New end users or tag values per account and hour; past it they share `other`.", ge=1
        ),
    ] = 10_000
    default_output_tokens: Annotated[
        int, Meta(description="The cap of a call without one, on a model without a known limit.", ge=1)
    ] = 16_384
    min_output_tokens: Annotated[int, Meta(description="A clamp below this is a refusal.", ge=1)] = 1_024
    drains: Annotated[
        int, Meta(description="Abandoned answers read to their end at once, per worker.", ge=0)
    ] = 64
    drain_s: Annotated[float, Meta(description="Seconds an abandoned answer is read on.", ge=0)] = 120.0
    max_reply_bytes: Annotated[int, Meta(description="Largest answer that is not streamed.", ge=1024)] = (
        64 * 1024 * 1024
    )


class TenancySettings(msgspec.Struct, frozen=True):
    """Whose is what is stored at a provider: responses, conversations, containers, files, caches."""

    unknown_ids: Annotated[
        Literal["refuse", "allow"],
        Meta(description="A call that names something made elsewhere than here: refuse it, or let it pass."),
    ] = "refuse"
    shared_ids: Annotated[
        tuple[str, ...],
        Meta(description="Ids at providers that every account may name, such as vector stores and files."),
    ] = ()


class LedgerSettings(msgspec.Struct, frozen=True):
    """How much the ledger keeps on this machine before it refuses calls."""

    max_journal_bytes: Annotated[
        int,
        Meta(description="Unposted records kept on disk; past it calls are refused with 503.", ge=1 << 20),
    ] = 1 << 30
    wait_s: Annotated[
        float, Meta(description="Seconds a call waits for headroom that lies in other workers' leases.", ge=0)
    ] = 2.0


class WebhookSettings(msgspec.Struct, frozen=True):
    """Where alerts may go."""

    allow_private: Annotated[
        tuple[str, ...], Meta(description="Private networks webhooks may reach, for example 127.0.0.0/8.")
    ] = ()
    smtp_url: Annotated[
        str,
        Meta(description="Mail server, smtp://user:password@host (STARTTLS) or smtps://; empty: none."),
    ] = ""
    smtp_sender: Annotated[str, Meta(description="Address that alerts by mail come from.")] = ""


class AccountSettings(msgspec.Struct, frozen=True):
    """What a new account starts with."""

    signup_grant: Annotated[
        str, Meta(description="A grant for every new account: `100000 tokens` or `5.00 usd`; empty: none.")
    ] = ""
