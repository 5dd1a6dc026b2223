from __future__ import annotations

import importlib.metadata

from reference_mesh.manifests import names


def test_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("meshmark") == names.VERSION
