"""What Tollgate knows: money, usage, prices, quotes, periods, budgets, scopes, keys, errors. Pure."""
