"""Frozen settings and the only reader of the environment and of the configuration file.

Order of precedence: environment `TOLLGATE_<SECTION>__<NAME>`, then the file, then the defaults here.
Every setting has a sentence of its own (`Meta.description`), from which the reference is checked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

__all__ = [
    "AccountSettings",
    "DatabaseSettings",
    "LedgerSettings",
    "LimitSettings",
    "PriceSettings",
    "ProviderSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "TenancySettings",
    "WebhookSettings",
    "documented",
    "load",
]

PREFIX = "TOLLGATE_"
# The provider SDKs' own variables: a provider without a credential of ours uses its SDK's.
CREDENTIAL_FALLBACKS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
}
BUILT_IN_PROVIDERS = ("openai", "anthropic", "gemini", "deepseek", "azure_openai")
# Keys handed over at the first start; read by name, they belong to no section.
BARE_VARIABLES = {"TOLLGATE_ADMIN_KEY": "admin_key", "TOLLGATE_ENCRYPTION_KEY": "encryption_key"}
# Variables of the command line's client, which are no settings of the gateway.
CLIENT_VARIABLES = {"TOLLGATE_URL", "TOLLGATE_CONFIG", "TOLLGATE_RECORDINGS"}
SECRETS = {"credential", "admin_key", "encryption_key", "url"}


class SettingsError(Exception):
    """A setting that cannot be: its name, value, where it came from, and what would be right."""


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
        float, Meta(description="Seconds without a byte after which an unfinished request is closed.", gt=0)
    ] = 30.0
    keep_alive_s: Annotated[
        int, Meta(description="Seconds an idle connection is kept for the next request.", ge=1)
    ] = 75
    drain_s: Annotated[int, Meta(description="Seconds calls may take to finish after SIGTERM.", ge=0)] = 60


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


class AccountSettings(msgspec.Struct, frozen=True):
    """What a new account starts with."""

    signup_grant: Annotated[
        str, Meta(description="A grant for every new account: `100000 tokens` or `5.00 usd`; empty: none.")
    ] = ""


class Settings(msgspec.Struct, frozen=True):
    """Everything that can be set."""

    server: ServerSettings = msgspec.field(default_factory=ServerSettings)
    database: DatabaseSettings = msgspec.field(default_factory=DatabaseSettings)
    providers: Mapping[str, ProviderSettings] = msgspec.field(default_factory=dict)
    aliases: Mapping[str, str] = msgspec.field(default_factory=dict)
    prices: PriceSettings = msgspec.field(default_factory=PriceSettings)
    limits: LimitSettings = msgspec.field(default_factory=LimitSettings)
    tenancy: TenancySettings = msgspec.field(default_factory=TenancySettings)
    ledger: LedgerSettings = msgspec.field(default_factory=LedgerSettings)
    webhooks: WebhookSettings = msgspec.field(default_factory=WebhookSettings)
    accounts: AccountSettings = msgspec.field(default_factory=AccountSettings)
    admin_key: str = ""
    encryption_key: str = ""

    @property
    def database_url(self) -> str:
        """The configured database, or SQLite beside the journals."""
        return self.database.url or f"sqlite:///{Path(self.server.data_dir).resolve() / 'tollgate.db'}"


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": ServerSettings,
    "database": DatabaseSettings,
    "prices": PriceSettings,
    "limits": LimitSettings,
    "tenancy": TenancySettings,
    "ledger": LedgerSettings,
    "webhooks": WebhookSettings,
    "accounts": AccountSettings,
}


def load(environ: Mapping[str, str], config_path: str | None) -> Settings:
    """Read the file (if any) and the environment; raise SettingsError for the first setting that is wrong."""
    given: dict[str, dict[str, dict[str, tuple[Any, str]]]] = {}
    aliases: dict[str, str] = {}
    if config_path:
        _read_file(config_path, given, aliases)
    bare = _read_environment(environ, given, aliases)
    _fill_credentials(environ, given)
    sections = {
        name: _section(kind, name, given.get(name, {}).get("", {})) for name, kind in SECTIONS.items()
    }
    providers = {
        name: _section(ProviderSettings, f"providers.{name}", values)
        for name, values in _in_order(given.get("providers", {}))
    }
    return Settings(**sections, providers=providers, aliases=aliases, **bare)  # type: ignore[arg-type]


def documented() -> Iterator[tuple[str, str, Any]]:
    """Every setting: dotted name, its sentence, its default."""
    sections: dict[str, type[msgspec.Struct]] = {**SECTIONS, "providers.<name>": ProviderSettings}
    for name, kind in sections.items():
        defaults = kind()
        for field, hint in get_type_hints(kind, include_extras=True).items():
            yield f"{name}.{field}", _meta(hint).description or "", getattr(defaults, field)


def _read_file(
    path: str, given: dict[str, dict[str, dict[str, tuple[Any, str]]]], aliases: dict[str, str]
) -> None:
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the configuration file {path} is not TOML: {error}") from None
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(
                f"{section} in {path} is outside any section; sections are {_section_names()}"
            )
        if section == "aliases":
            aliases.update({str(alias): _model(alias, target, path) for alias, target in table.items()})
        elif section == "providers":
            for provider, values in table.items():
                _put(given, section, provider, _table(values, f"providers.{provider}", path), path)
        else:
            _put(given, section, "", table, path)


def _read_environment(
    environ: Mapping[str, str],
    given: dict[str, dict[str, dict[str, tuple[Any, str]]]],
    aliases: dict[str, str],
) -> dict[str, str]:
    bare: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in CLIENT_VARIABLES:
            continue
        if variable in BARE_VARIABLES:
            bare[BARE_VARIABLES[variable]] = value
            continue
        section, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if section == "providers" and len(rest) == 2:
            _put(given, section, rest[0], {rest[1]: value}, variable)
        elif section == "aliases" and len(rest) == 1:
            aliases[rest[0]] = value
        elif len(rest) == 1:
            _put(given, section, "", {rest[0]: value}, variable)
        else:
            raise SettingsError(
                f"{variable} is no setting; the form is TOLLGATE_<SECTION>__<NAME>, "
                f"with a section of {_section_names()}"
            )
    if "admin_key" in bare and len(bare["admin_key"]) < 16:
        raise SettingsError("TOLLGATE_ADMIN_KEY is shorter than 16 characters; use a longer, random string")
    return bare


def _fill_credentials(
    environ: Mapping[str, str], given: dict[str, dict[str, dict[str, tuple[Any, str]]]]
) -> None:
    for provider, variable in CREDENTIAL_FALLBACKS.items():
        values = given.setdefault("providers", {}).setdefault(provider, {})
        if environ.get(variable) and "credential" not in values:
            values["credential"] = (environ[variable], variable)


def _in_order(
    providers: Mapping[str, dict[str, tuple[Any, str]]],
) -> list[tuple[str, dict[str, tuple[Any, str]]]]:
    """Configured providers first, in the file's order: one name at two providers goes to the first."""
    written = [name for name, values in providers.items() if values]
    return [(name, providers[name]) for name in written] + [
        (name, {}) for name in BUILT_IN_PROVIDERS if name not in written
    ]


def _section(kind: type[msgspec.Struct], name: str, values: Mapping[str, tuple[Any, str]]) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    converted: dict[str, Any] = {}
    for field, (value, origin) in values.items():
        if field not in hints:
            raise SettingsError(
                f"{name}.{field} (from {origin}) is no setting; {name} has {', '.join(sorted(hints))}"
            )
        converted[field] = _convert(f"{name}.{field}", value, hints[field], origin)
    return kind(**converted)


def _convert(name: str, value: Any, hint: Any, origin: str) -> Any:
    if isinstance(value, str) and get_origin(_bare(hint)) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        shown = "********" if name.rsplit(".", 1)[-1] in SECRETS else repr(value)
        raise SettingsError(
            f"{name} = {shown} (from {origin}) is not right: {error}{_choices(hint)}."
            f" {_meta(hint).description}"
        ) from None


def _put(
    given: dict[str, dict[str, dict[str, tuple[Any, str]]]],
    section: str,
    name: str,
    values: Mapping[str, Any],
    origin: str,
) -> None:
    if section != "providers" and section not in SECTIONS:
        raise SettingsError(f"{section} (from {origin}) is no section; sections are {_section_names()}")
    slot = given.setdefault(section, {}).setdefault(name, {})
    slot.update({field: (value, origin) for field, value in values.items()})


def _table(values: Any, name: str, path: str) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise SettingsError(f"{name} in {path} is not a table; write [{name}] with its settings below")
    return values


def _model(alias: object, target: object, path: str) -> str:
    if not isinstance(target, str) or not target:
        raise SettingsError(
            f'aliases.{alias} in {path} is not a model\'s name; write {alias} = "provider/model"'
        )
    return target


def _section_names() -> str:
    return ", ".join(sorted((*SECTIONS, "providers", "aliases")))


def _choices(hint: Any) -> str:
    bare = _bare(hint)
    if get_origin(bare) is not Literal:
        return ""
    return "; it is one of " + ", ".join(repr(choice) for choice in get_args(bare) if choice)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _meta(hint: Any) -> Meta:
    meta = get_args(hint)[1] if get_origin(hint) is Annotated else Meta()
    assert isinstance(meta, Meta)
    return meta
