"""What holds for every test: generous deadlines, since the machine may be busy with other work."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("tollgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tollgate")
