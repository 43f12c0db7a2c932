"""The admin plane: accounts, keys, budgets, grants, prices, leases and the audit log, under `/admin`.

`operations` says what an operation is, `endpoint` runs one, `roles` says who may; each other file has the
operations of one kind of thing, and `routes` puts them together.
"""
