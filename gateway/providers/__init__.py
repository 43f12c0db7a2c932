"""Who serves a format: addresses, credentials, habits. Pure; one file per provider."""
