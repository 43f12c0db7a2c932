"""The `tollgate` command. It speaks to the admin API over HTTP, but for `serve`, `demo` and `db`."""
