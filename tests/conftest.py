"""Settings of every test."""

from __future__ import annotations

import os

from hypothesis import settings

# A deadline measures the machine. What hangs is ended by pytest-timeout.
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
