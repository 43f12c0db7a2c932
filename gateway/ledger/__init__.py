"""Holds in memory, leases, journal and posting: how budgets stay exact and nothing is lost."""
