"""The life of one call: identify, read, route, price, quote, reserve, relay, settle or void."""
