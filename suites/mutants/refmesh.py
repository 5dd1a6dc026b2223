"""
`refmesh` with one planted defect: `python -m suites.mutants.refmesh COMMAND`.

`MESHMARK_MUTANT` names the defect. A name that is not in `DEFECTS` is left to the other programs of
the mesh, and `refmesh` runs as it is.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["DEFECTS", "main"]


def _forget_issuer() -> None:
    """An upgrade makes a trust anchor and an issuer anew, as an installation does."""
    from reference_mesh.cli import installed  # noqa: PLC0415
    from reference_mesh.manifests import certificates  # noqa: PLC0415

    read = installed.installation

    def installation(kubernetes: Kubernetes, namespace: str, **more: Any) -> installed.Installation:
        found = read(kubernetes, namespace, **more)
        anchor = certificates.make_trust_anchor("cluster.local")
        credentials = dataclasses.replace(
            found.credentials,
            trust_anchors_pem=anchor.certificate_pem,
            issuer=certificates.make_issuer(anchor, "cluster.local", namespace),
        )
        return dataclasses.replace(found, credentials=credentials)

    installed.installation = installation


def _keep_anchors() -> None:
    """An upgrade adds trust anchors, and takes none away."""
    from reference_mesh.cli import installed  # noqa: PLC0415

    read = installed.installation

    def installation(
        kubernetes: Kubernetes, namespace: str, *, anchors_pem: str | None = None, **more: Any
    ) -> installed.Installation:
        if anchors_pem is not None:
            anchors_pem += installed.trust_anchors(kubernetes, namespace)
        return read(kubernetes, namespace, anchors_pem=anchors_pem, **more)

    installed.installation = installation


DEFECTS: dict[str, Callable[[], None]] = {
    "upgrade-forgets-issuer": _forget_issuer,
    "upgrade-keeps-anchors": _keep_anchors,
}
"""What to do to the modules of `refmesh`, by the defect's id in the catalogue."""


def main() -> None:
    """Plant the defect that the environment names, and run `refmesh`."""
    plant = DEFECTS.get(os.environ.get("MESHMARK_MUTANT", ""))
    if plant is not None:
        plant()
    from reference_mesh.cli import main as run  # noqa: PLC0415

    run(prog_name="refmesh")


if __name__ == "__main__":
    main()
