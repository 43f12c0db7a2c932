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

from gateway.sections import (
    AccountSettings,
    BreakerSettings,
    DatabaseSettings,
    LedgerSettings,
    LimitSettings,
    PriceSettings,
    ProviderSettings,
    ResumeSettings,
    RetrySettings,
    RouteSettings,
    ServerSettings,
    TenancySettings,
    UpstreamSettings,
    WebhookSettings,
)

__all__ = [
    "AccountSettings",
    "DatabaseSettings",
    "LedgerSettings",
    "LimitSettings",
    "PriceSettings",
    "ProviderSettings",
    "ResumeSettings",
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
SECRETS = {"credential", "admin_key", "encryption_key", "url", "smtp_url"}


class SettingsError(Exception):
    """A setting that cannot be: its name, value, where it came from, and what would be right."""


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
    resume: ResumeSettings = msgspec.field(default_factory=ResumeSettings)
    retries: RetrySettings = msgspec.field(default_factory=RetrySettings)
    breaker: BreakerSettings = msgspec.field(default_factory=BreakerSettings)
    upstreams: Mapping[str, UpstreamSettings] = msgspec.field(default_factory=dict)
    routes: Mapping[str, RouteSettings] = msgspec.field(default_factory=dict)
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
    "resume": ResumeSettings,
    "retries": RetrySettings,
    "breaker": BreakerSettings,
    "webhooks": WebhookSettings,
    "accounts": AccountSettings,
}

# Sections with a table for each name.
NAMED: dict[str, type[msgspec.Struct]] = {
    "providers": ProviderSettings,
    "upstreams": UpstreamSettings,
    "routes": RouteSettings,
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
    more = {
        section: {
            name: _section(kind, f"{section}.{name}", values)
            for name, values in given.get(section, {}).items()
        }
        for section, kind in NAMED.items()
        if section != "providers"
    }
    return Settings(**sections, providers=providers, aliases=aliases, **more, **bare)  # type: ignore[arg-type]


def documented() -> Iterator[tuple[str, str, Any]]:
    """Every setting: dotted name, its sentence, its default."""
    named = {f"{section}.<name>": kind for section, kind in NAMED.items()}
    sections: dict[str, type[msgspec.Struct]] = {**SECTIONS, **named}
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
        elif section in NAMED:
            for name, values in table.items():
                _put(given, section, name, _table(values, f"{section}.{name}", path), path)
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
        if section in NAMED and len(rest) == 2:
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
    if section not in NAMED and section not in SECTIONS:
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
    return ", ".join(sorted((*SECTIONS, *NAMED, "aliases")))


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
