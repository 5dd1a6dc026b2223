"""
A cluster for the mesh, and `refmesh` run against it.

MESHMARK_CONTRACT_CLUSTER names the engine: `embedded` (the default) or `kind`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from harness.cluster import embedded, kind
from harness.mesh import driver, resources
from harness.mesh.protocol import MeshOptions
from reference_mesh.cli import main
from tests.reference_mesh.cli.breaking import Signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.cluster import Cluster, Image

ON_KIND = os.environ.get("MESHMARK_CONTRACT_CLUSTER") == "kind"
PYTHON = "/usr/bin/python3" if ON_KIND else sys.executable
IMAGE = "meshmark.dev/control-plane:0.1.0"
"""Has a Python, on kind nothing else, and is on every node."""
ASLEEP = [PYTHON, "-c", "import signal; signal.pause()"]
DEPLOYMENTS = ("linkerd-identity", "linkerd-destination", "linkerd-proxy-injector")
ROOT = Signed(-1, 300)
"""Trust anchor of the mesh that is installed here."""
REFRESHED_S = 180
"""A kubelet looks at mounted Secrets about once a minute, and may show what it had then."""


@contextlib.contextmanager
def started(name: str, images: Sequence[Image] | None = None) -> Iterator[Cluster]:
    """A cluster that has these images or else the mesh's, and no mesh."""
    images = images or driver("reference").images(MeshOptions())
    maker = kind if ON_KIND else embedded
    with maker.start(f"{name}-{os.getpid()}", images=images) as cluster:
        yield cluster


def install(cluster: Cluster, folder: Path) -> list[dict[str, Any]]:
    """Install for high availability, two replicas of each, under ROOT; returns the objects."""
    client = cluster.client()
    definitions = resources.documents(refmesh(cluster, "install", "--crds"))
    resources.apply(client, definitions)
    installed = resources.documents(
        refmesh(cluster, "install", "--ha", "--set=controllerReplicas=2", *credentials(folder))
    )
    resources.apply(client, installed)
    resources.apply(
        client, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}]
    )
    resources.deployments_available(cluster, "linkerd", DEPLOYMENTS)
    return definitions + installed


def credentials(folder: Path) -> list[str]:
    """Options of `install` for an issuer under ROOT; its files are put into the folder."""
    issuer = Signed(-1, 300, signer=ROOT)
    options = []
    for option, pem in (
        ("trust-anchors-file", ROOT.pem),
        ("issuer-certificate-file", issuer.pem),
        ("issuer-key-file", issuer.key_pem),
    ):
        file = folder / option
        file.write_text(pem)
        options.append(f"--identity-{option}={file}")
    return options


def refmesh(cluster: Cluster, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["--kubeconfig", str(cluster.kubeconfig), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def told(cluster: Cluster, *options: str) -> dict[str, str]:
    """What `check` complains of, by check."""
    arguments = ["--kubeconfig", str(cluster.kubeconfig), "check", "-o", "json", *options]
    report = json.loads(CliRunner().invoke(main, arguments).stdout)
    listed = [check for group in report["categories"] for check in group["checks"]]
    return {c["description"]: c["error"] for c in listed if c["result"] != "success"}
