"""Whether there is a cluster, and one that the mesh can run on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reference_mesh.cli.checks.model import Category, Check, Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference_mesh.cli.checks.model import Facts

__all__ = ["categories"]

_MINIMUM = (1, 30)
"""First version that has native sidecars and pauses before the end on by default."""


def categories(facts: Facts) -> Iterator[Category]:
    """`kubernetes-api` and `kubernetes-version`."""

    def initialize() -> None:
        _ = facts.kubernetes

    def query() -> None:
        facts.kubernetes.get("/version")

    def version() -> None:
        found = facts.kubernetes.get("/version")
        text = str(found.get("gitVersion", ""))
        match = re.match(r"v?(\d+)\.(\d+)", text)
        if match is None:
            raise Failed(f"the version {text!r} cannot be read")
        if (int(match[1]), int(match[2])) < _MINIMUM:
            raise Failed(
                f"Kubernetes is {text}; the mesh needs v{_MINIMUM[0]}.{_MINIMUM[1]} or later"
            )

    yield Category(
        "kubernetes-api",
        (
            Check(
                description="can initialize the client",
                run=initialize,
                hint="name a kubeconfig with --kubeconfig or $KUBECONFIG",
                fatal=True,
            ),
            Check(
                description="can query the Kubernetes API",
                run=query,
                hint="see whether `kubectl version` gets an answer",
                fatal=True,
            ),
        ),
    )
    yield Category(
        "kubernetes-version",
        (
            Check(
                description="is running the minimum Kubernetes API version",
                run=version,
                hint="upgrade the cluster",
            ),
        ),
    )
