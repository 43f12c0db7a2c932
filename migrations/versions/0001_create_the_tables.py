"""Create the tables.

The first shape: tenancy, prices, budgets and their windows, journals and leases, the ledger and its sums, and
what the gateway keeps about itself. Amounts and instants are 64-bit integers throughout.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives only INTEGER primary keys an automatic value.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _big(name: str, *rest: Any, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), *rest, **{"nullable": False, **options})


def _int(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), **{"nullable": False, **options})


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), **{"nullable": False, **options})


def _str(name: str, length: int, *rest: Any, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), *rest, **{"nullable": False, **options})


def _bytes(name: str, **options: Any) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), **{"nullable": False, **options})


def _row_id() -> sa.Column[int]:
    return sa.Column("id", _ROW_ID, autoincrement=True, nullable=False)


def _of(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}_{target}")


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _create_tenancy() -> None:
    op.create_table(
        "accounts",
        _str("id", 40),
        _str("parent", 40, nullable=True),
        _text("name"),
        _text("path"),
        _text("kind"),
        _text("cost_center", nullable=True),
        _text("timezone"),
        _text("metadata"),
        _str("status", 16),
        _big("created_at"),
        _big("deleted_at", nullable=True),
        _big("revision"),
        _key("accounts", "id"),
        _of("accounts", "parent", "accounts"),
    )
    op.create_index("ix_accounts_revision", "accounts", ["revision"])
    op.create_index("ix_accounts_parent", "accounts", ["parent"])
    op.create_index(
        "uq_accounts_path",
        "accounts",
        ["path"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _create_keys() -> None:
    op.create_table(
        "virtual_keys",
        _str("id", 40),
        _str("account", 40),
        _text("name"),
        _bytes("fingerprint"),
        _text("hint"),
        _text("models", nullable=True),
        _big("max_output_tokens", nullable=True),
        _str("on_over_cap", 8),
        _flag("require_end_user"),
        _flag("sees_account"),
        _text("tags"),
        _text("metadata"),
        _str("status", 16),
        _big("expires_at", nullable=True),
        _big("created_at"),
        _big("revoked_at", nullable=True),
        _str("rotated_to", 40, nullable=True),
        _big("revision"),
        _key("virtual_keys", "id"),
        _of("virtual_keys", "account", "accounts"),
        sa.UniqueConstraint("fingerprint", name="uq_virtual_keys_fingerprint"),
    )
    op.create_index("ix_virtual_keys_revision", "virtual_keys", ["revision"])
    op.create_index("ix_virtual_keys_account", "virtual_keys", ["account"])
    op.create_table(
        "admin_keys",
        _str("id", 40),
        _text("name"),
        _str("role", 16),
        _bytes("fingerprint"),
        _text("hint"),
        _big("created_at"),
        _big("revoked_at", nullable=True),
        _big("revision"),
        _key("admin_keys", "id"),
        sa.UniqueConstraint("fingerprint", name="uq_admin_keys_fingerprint"),
    )


def _create_prices() -> None:
    op.create_table(
        "models",
        _str("provider", 64),
        _str("model", 255),
        _text("match"),
        _int("position"),
        _big("context_window", nullable=True),
        _text("source"),
        _big("revision"),
        _key("models", "provider", "model"),
    )
    op.create_table(
        "prices",
        _str("id", 40),
        _str("provider", 64),
        _str("model", 255),
        _str("meter", 32),
        _str("service_tier", 32),
        _big("context_over"),
        _text("hours", nullable=True),
        _big("price_pico"),
        _big("effective_from"),
        _big("effective_to", nullable=True),
        _str("account", 40, nullable=True),
        _text("source"),
        _text("source_text"),
        _int("rank"),
        _big("created_at"),
        _big("revision"),
        _key("prices", "id"),
        _of("prices", "account", "accounts"),
    )
    op.create_index("ix_prices_model", "prices", ["provider", "model"])
    op.create_index("ix_prices_revision", "prices", ["revision"])
    op.create_table(
        "model_limits",
        _str("provider", 64),
        _str("model", 255),
        _big("effective_from"),
        _big("context_window", nullable=True),
        _big("max_output", nullable=True),
        _str("cap_field", 32, nullable=True),
        _text("source"),
        _big("revision"),
        _key("model_limits", "provider", "model", "effective_from"),
    )


def _create_budgets() -> None:
    op.create_table(
        "budgets",
        _str("id", 40),
        _text("name"),
        _str("account", 40, nullable=True),
        _str("key", 40, nullable=True),
        _text("models"),
        _str("provider", 64, nullable=True),
        _text("end_user", nullable=True),
        _text("tags"),
        _text("each", nullable=True),
        _str("unit", 16),
        _big("cap"),
        _str("period", 16),
        _text("timezone"),
        _int("anchor_day"),
        _int("anchor_month"),
        _str("enforcement", 8),
        _text("alert_at"),
        _text("fallback", nullable=True),
        _str("count_from", 8),
        _flag("funded"),
        _big("created_at"),
        _big("deleted_at", nullable=True),
        _big("revision"),
        _key("budgets", "id"),
        _of("budgets", "account", "accounts"),
        _of("budgets", "key", "virtual_keys"),
        sa.CheckConstraint("cap >= 0", name=op.f("ck_budgets_cap_not_negative")),
    )
    op.create_index("ix_budgets_revision", "budgets", ["revision"])


def _create_windows() -> None:
    op.create_table(
        "windows",
        _row_id(),
        _str("budget", 40),
        _text("subject"),
        _big("starts_at"),
        _big("ends_at", nullable=True),
        _big("cap"),
        _big("spent"),
        _big("leased"),
        _big("overrun"),
        _big("released"),
        _big("recall"),
        _big("refused_at", nullable=True),
        _key("windows", "id"),
        _of("windows", "budget", "budgets"),
        sa.UniqueConstraint("budget", "subject", "starts_at", name="uq_windows_budget_subject_starts_at"),
        sa.CheckConstraint("leased >= 0", name=op.f("ck_windows_leased_not_negative")),
    )
    op.create_table(
        "budget_increases",
        _str("id", 40),
        _big("win"),
        _big("amount"),
        _text("reason"),
        _str("made_by", 40),
        _big("created_at"),
        _key("budget_increases", "id"),
        _of("budget_increases", "win", "windows"),
    )
    op.create_index("ix_budget_increases_win", "budget_increases", ["win"])
    op.create_table(
        "grants",
        _str("id", 40),
        _str("account", 40),
        _big("win"),
        _str("unit", 16),
        _big("amount"),
        _big("burnt"),
        _big("expired"),
        _int("priority"),
        _big("expires_at", nullable=True),
        _text("reason"),
        _big("created_at"),
        _key("grants", "id"),
        _of("grants", "account", "accounts"),
        _of("grants", "win", "windows"),
        sa.CheckConstraint("burnt + expired <= amount", name=op.f("ck_grants_not_overdrawn")),
    )
    op.create_index("ix_grants_win", "grants", ["win"])


def _create_journals() -> None:
    op.create_table(
        "journals",
        _str("id", 40),
        _str("data_dir", 40),
        _big("serial"),
        _big("posted"),
        _str("state", 20),
        _big("seen_at"),
        _big("complete_until"),
        _big("created_at"),
        _text("host"),
        _key("journals", "id"),
    )
    op.create_index("ix_journals_state", "journals", ["state"])
    op.create_table(
        "leases",
        _str("journal", 40),
        _big("win"),
        _big("amount"),
        _big("held"),
        _big("answered"),
        _key("leases", "journal", "win"),
        _of("leases", "journal", "journals"),
        _of("leases", "win", "windows"),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_leases_amount_not_negative")),
    )
    op.create_index("ix_leases_win", "leases", ["win"])
    op.create_table("doors", _str("journal", 40), _text("address"), _key("doors", "journal"))
    op.create_table(
        "claims",
        _str("owner", 40),
        _str("idempotency_key", 255),
        _bytes("body_hash"),
        _str("call", 40),
        _str("journal", 40),
        _str("state", 16),
        _big("expires_at"),
        _key("claims", "owner", "idempotency_key"),
    )
    op.create_index("ix_claims_expires_at", "claims", ["expires_at"])
    op.create_table(
        "quarantine",
        _str("journal", 40),
        _big("seq"),
        _bytes("record"),
        _text("amounts"),
        _text("error"),
        _big("created_at"),
        _key("quarantine", "journal", "seq"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        _str("id", 40),
        _str("kind", 12),
        _str("attempt", 40),
        _str("call", 40),
        _str("journal", 40),
        _big("seq"),
        _big("admitted_at"),
        _big("closed_at"),
        _big("late_for", nullable=True),
        _str("account", 40),
        _str("key", 40),
        _text("end_user", nullable=True),
        _text("tags"),
        _str("provider", 64),
        _str("upstream", 64),
        _str("model", 255),
        _str("served_model", 255, nullable=True),
        _str("service_tier", 32, nullable=True),
        _str("format", 32),
        _flag("streamed"),
        _int("status", nullable=True),
        _str("outcome", 16),
        _text("usage"),
        _str("usage_source", 12),
        _bytes("raw_usage", nullable=True),
        _text("lines"),
        _text("flags"),
        _big("hold"),
        _big("charge"),
        _big("list_charge"),
        _big("overrun"),
        _text("windows"),
        _text("reason", nullable=True),
        _key("ledger", "id"),
    )
    op.create_index("ix_ledger_call", "ledger", ["call"])
    op.create_index("ix_ledger_admitted_at", "ledger", ["admitted_at"])
    op.create_index("ix_ledger_key_admitted_at", "ledger", ["key", "admitted_at"])
    op.create_index("ix_ledger_account_admitted_at", "ledger", ["account", "admitted_at"])
    op.create_table(
        "belongings",
        _str("id", 255),
        _str("upstream", 64),
        _str("account", 40),
        _str("attempt", 40),
        _big("made_at"),
        _flag("awaited"),
        _key("belongings", "id", "upstream"),
    )
    op.create_index("ix_belongings_awaited", "belongings", ["awaited", "made_at"])


def _create_rollup(table: str, *by: sa.Column[str]) -> None:
    columns: list[sa.Column[Any]] = [
        _big("slot"),
        _str("account", 40),
        _str("key", 40),
        _str("provider", 64),
        _str("model", 255),
        *by,
        _str("meter", 32),
    ]
    op.create_table(
        table,
        *columns,
        _big("quantity"),
        _big("cost"),
        _big("list_cost"),
        _key(table, *(column.name for column in columns)),
        sqlite_with_rowid=False,
    )


def _create_operations() -> None:
    op.create_table("revisions", _str("topic", 32), _big("number"), _key("revisions", "topic"))
    op.create_table("meta", _str("name", 64), _text("value"), _key("meta", "name"))
    op.create_table(
        "events",
        _row_id(),
        _str("event", 64),
        _str("dedupe", 255),
        _str("account", 40, nullable=True),
        _str("subject", 64),
        _text("data"),
        _big("created_at"),
        _big("spread_at", nullable=True),
        _key("events", "id"),
        sa.UniqueConstraint("dedupe", name="uq_events_dedupe"),
    )
    op.create_index("ix_events_created_at", "events", ["created_at"])
    op.create_index("ix_events_spread_at", "events", ["spread_at"])
    op.create_table(
        "alarms",
        _big("win", autoincrement=False),
        _big("ends_at"),
        _big("raised_at"),
        _key("alarms", "win"),
    )
    op.create_index("ix_alarms_ends_at", "alarms", ["ends_at"])
    op.create_table(
        "audit",
        _row_id(),
        _big("at"),
        _str("actor", 40),
        _str("action", 64),
        _str("object", 64),
        _text("before", nullable=True),
        _text("after", nullable=True),
        _bytes("hash"),
        _key("audit", "id"),
    )
    op.create_table(
        "answers",
        _str("owner", 40),
        _str("idempotency_key", 255),
        _bytes("request_hash"),
        _int("status"),
        _bytes("body"),
        _big("expires_at"),
        _key("answers", "owner", "idempotency_key"),
    )
    op.create_index("ix_answers_expires_at", "answers", ["expires_at"])


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        _str("id", 40),
        _str("account", 40, nullable=True),
        _str("format", 16),
        _text("target"),
        _text("shown"),
        _text("events"),
        _str("status", 16),
        _text("reason", nullable=True),
        _text("secret"),
        _text("old_secret", nullable=True),
        _big("old_secret_until", nullable=True),
        _big("rests_until"),
        _str("owner", 40, nullable=True),
        _big("owned_until"),
        _big("created_at"),
        _big("deleted_at", nullable=True),
        _big("revision"),
        _key("webhooks", "id"),
        _of("webhooks", "account", "accounts"),
    )
    op.create_table(
        "deliveries",
        _str("id", 40),
        _big("event"),
        _str("webhook", 40),
        _str("subject", 64),
        _str("status", 12),
        _int("attempts"),
        _big("due_at"),
        _big("created_at"),
        _big("finished_at", nullable=True),
        _key("deliveries", "id"),
        _of("deliveries", "event", "events"),
        _of("deliveries", "webhook", "webhooks"),
        sa.UniqueConstraint("event", "webhook", name="uq_deliveries_event_webhook"),
    )
    op.create_index("ix_deliveries_status_finished_at", "deliveries", ["status", "finished_at"])
    op.create_index("ix_deliveries_webhook_status_event", "deliveries", ["webhook", "status", "event"])
    op.create_index(
        "ix_deliveries_webhook_subject_status_due_at",
        "deliveries",
        ["webhook", "subject", "status", "due_at"],
    )
    op.create_table(
        "delivery_attempts",
        _str("delivery", 40),
        _big("at"),
        _big("took_us"),
        _int("status", nullable=True),
        _text("error", nullable=True),
        _key("delivery_attempts", "delivery", "at"),
        _of("delivery_attempts", "delivery", "deliveries"),
    )


def _create_finance() -> None:
    op.create_table(
        "fx",
        _str("currency", 3),
        _str("day", 10),
        _big("rate_nano"),
        _text("source"),
        _big("created_at"),
        _key("fx", "currency", "day"),
    )
    op.create_table(
        "rate_cards",
        _str("id", 40),
        _str("account", 40),
        _str("provider", 64, nullable=True),
        _text("model", nullable=True),
        _str("meter", 32, nullable=True),
        _str("kind", 8),
        _big("amount"),
        _text("text"),
        _big("effective_from"),
        _big("effective_to", nullable=True),
        _big("created_at"),
        _big("revision"),
        _key("rate_cards", "id"),
        _of("rate_cards", "account", "accounts"),
    )
    op.create_table(
        "periods",
        _str("month", 7),
        _big("starts_at"),
        _big("ends_at"),
        _big("closed_at"),
        _str("closed_by", 40),
        _big("entries"),
        _big("charge"),
        _big("list_charge"),
        _bytes("hash"),
        _key("periods", "month"),
    )


# What stays free to be changed in a closed month is what erasure needs.
_FREE = ("end_user", "raw_usage")


def _lock_closed_periods() -> None:
    """Triggers that keep the rows of closed months as they are, and closed months closed."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for table, instant in (
        ("ledger", "admitted_at"),
        ("rollups", "slot"),
        ("end_user_rollups", "slot"),
        ("tag_rollups", "slot"),
    ):
        columns = [each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)]
        changed = ", ".join(name for name in columns if name not in _FREE)
        for action, what, rows in (
            ("insert", "INSERT", ("NEW",)),
            ("update", f"UPDATE OF {changed}", ("OLD", "NEW")),
            ("delete", "DELETE", ("OLD",)),
        ):
            within = " OR ".join(
                f"{row}.{instant} >= starts_at AND {row}.{instant} < ends_at" for row in rows
            )
            _refuse(on_sqlite, f"{table}_closed_{action}", f"{what} ON {table}", within, rows[-1])
    if on_sqlite:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER periods_stay_{action.lower()} BEFORE {action} ON periods"
                " BEGIN SELECT RAISE(ABORT, 'a closed period stays closed'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION periods_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'a closed period stays closed' USING ERRCODE = 'check_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER periods_stay BEFORE UPDATE OR DELETE ON periods"
        " FOR EACH ROW EXECUTE FUNCTION periods_stay()"
    )


def _refuse(on_sqlite: bool, name: str, what: str, within: str, row: str) -> None:
    if on_sqlite:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {what} WHEN EXISTS (SELECT 1 FROM periods WHERE {within})"
            " BEGIN SELECT RAISE(ABORT, 'the period is closed'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF EXISTS (SELECT 1 FROM periods WHERE {within}) THEN"
        " RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'check_violation'; END IF;"
        f" RETURN {row}; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {what} FOR EACH ROW EXECUTE FUNCTION {name}()")


# Children first, so that no foreign key ever points at nothing.
_IN_ORDER_OF_DROPPING = (
    "delivery_attempts",
    "deliveries",
    "webhooks",
    "periods",
    "rate_cards",
    "fx",
    "answers",
    "audit",
    "alarms",
    "events",
    "meta",
    "revisions",
    "tag_rollups",
    "end_user_rollups",
    "rollups",
    "belongings",
    "ledger",
    "quarantine",
    "claims",
    "doors",
    "leases",
    "journals",
    "grants",
    "budget_increases",
    "windows",
    "budgets",
    "model_limits",
    "prices",
    "models",
    "admin_keys",
    "virtual_keys",
    "accounts",
)


def upgrade() -> None:
    """Make every table."""
    _create_tenancy()
    _create_keys()
    _create_prices()
    _create_budgets()
    _create_windows()
    _create_journals()
    _create_ledger()
    _create_rollup("rollups")
    _create_rollup("end_user_rollups", _str("end_user", 255))
    _create_rollup("tag_rollups", _str("tag", 64), _str("value", 255))
    _create_operations()
    _create_webhooks()
    _create_finance()
    _lock_closed_periods()


def downgrade() -> None:
    """Drop every table, and with them everything that is in them."""
    for table in _IN_ORDER_OF_DROPPING:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        # Triggers went with their tables; what they ran did not.
        for table in ("ledger", "rollups", "end_user_rollups", "tag_rollups"):
            for action in ("insert", "update", "delete"):
                op.execute(f"DROP FUNCTION {table}_closed_{action}()")
        op.execute("DROP FUNCTION periods_stay()")
