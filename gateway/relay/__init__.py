"""Upstream I/O: bytes to a provider and back. Knows nothing of keys, budgets or SQL."""
