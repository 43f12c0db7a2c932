"""Every table, in one MetaData. Amounts and instants are BIGINT: nano-USD or units, microseconds."""

from gateway.store.tables.answers import answers
from gateway.store.tables.base import metadata
from gateway.store.tables.belongings import belongings
from gateway.store.tables.budgets import budget_increases, budgets, grants, windows
from gateway.store.tables.finance import fx, rate_cards
from gateway.store.tables.journals import claims, doors, journals, leases, quarantine
from gateway.store.tables.ledger import end_user_rollups, ledger, rollups, tag_rollups
from gateway.store.tables.operations import alarms, audit, events, meta, revisions
from gateway.store.tables.periods import periods
from gateway.store.tables.prices import model_limits, models, prices
from gateway.store.tables.tenancy import accounts, admin_keys, virtual_keys
from gateway.store.tables.webhooks import deliveries, delivery_attempts, webhooks

__all__ = [
    "accounts",
    "admin_keys",
    "alarms",
    "answers",
    "audit",
    "belongings",
    "budget_increases",
    "budgets",
    "claims",
    "deliveries",
    "delivery_attempts",
    "doors",
    "end_user_rollups",
    "events",
    "fx",
    "grants",
    "journals",
    "leases",
    "ledger",
    "meta",
    "metadata",
    "model_limits",
    "models",
    "periods",
    "prices",
    "quarantine",
    "rate_cards",
    "revisions",
    "rollups",
    "tag_rollups",
    "virtual_keys",
    "webhooks",
    "windows",
]
