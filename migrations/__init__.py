"""The history of the database's shape: one revision a change, run by `gateway.store.migrate`."""
