"""Settings of every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from harness.cli import requirements
from harness.cluster.kind import tools
from harness.errors import EnvironmentLacks

# A deadline measures the machine. What hangs is ended by pytest-timeout.
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def kubectl_program() -> str:
    """Path of a kubectl; where there is none, tests that ask for it are skipped and say why."""
    on_kind = os.environ.get("MESHMARK_CONTRACT_CLUSTER") == "kind"
    try:
        return tools.find("kubectl", None if on_kind else requirements.KUBECTL)
    except EnvironmentLacks as error:
        pytest.skip(str(error))
