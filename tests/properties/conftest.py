"""Hypothesis profiles: a few fixed examples by default, 2000 new ones with `HYPOTHESIS_PROFILE=fuzz`."""

import os

from hypothesis import HealthCheck, settings

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", derandomize=True, max_examples=20, **QUIET)
settings.register_profile("fuzz", max_examples=2000, print_blob=True, **QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
