"""What every suite stands on: a cluster per lane, with the mesh installed and a lab in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from typing import TYPE_CHECKING

import pytest

from harness import mesh as meshes
from harness.cluster import choice
from harness.mesh.protocol import MeshOptions
from harness.record.catalogue import Lane
from harness.record.model import Figure
from harness.workload import image as workload_image
from suites.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.plugin import Check, Options, RunContext

CLUSTER_READY_S = 3.0
MESH_READY_S = 10.0
"""What was aimed at on two cores; figures of the report, and no test's time limit."""

SHORT_LEAF_LIFETIME_S = 20.0
"""How long certificates of the short lane live: three renewals fit into a minute."""


def pytest_meshmark_prepare(
    config: pytest.Config, options: Options, progress: Callable[[str], None]
) -> None:
    """Build every program that the run needs, before any process of it starts."""
    progress("building the workload")
    workload_image.build()
    progress(f"building what mesh {options.mesh} runs")
    meshes.driver(options.mesh).images(_mesh_options(options, Lane.STEADY))


@pytest.fixture(scope="session")
def lab_of(run_options: Options, run_context: RunContext) -> Iterator[Callable[[Lane], Lab]]:
    """The lab of a lane; its cluster starts and its mesh is installed when first asked for."""
    labs: dict[Lane, Lab] = {}
    with contextlib.ExitStack() as open_labs:

        def lab_of(lane: Lane) -> Lab:
            if lane not in labs:
                labs[lane] = open_labs.enter_context(_lab(run_options, run_context, lane))
            return labs[lane]

        yield lab_of


@pytest.fixture
def lab(check: Check, lab_of: Callable[[Lane], Lab]) -> Lab:
    """The lab of this check's lane."""
    with check.phase("arrange"):
        return lab_of(check.entry.lane)


@contextlib.contextmanager
def _lab(options: Options, context: RunContext, lane: Lane) -> Iterator[Lab]:
    driver = meshes.driver(options.mesh)
    mesh_options = _mesh_options(options, lane)
    name = f"meshmark-{lane}-{os.getpid()}"
    begun_s = time.perf_counter()
    with choice.opened(options.cluster, name=name, keep=options.keep) as cluster:
        opened_s = time.perf_counter()
        if options.keep and cluster.engine == "embedded":
            point = f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}"
            context.hint(f"kept: {point}  (ends with: meshmark down --name {cluster.name})")
        cluster.load_images([workload_image.build(), *driver.images(mesh_options)])
        loaded_s = time.perf_counter()
        try:
            driver.install(cluster, mesh_options)
            if cluster.engine == "embedded":
                what = f"cluster ready ({lane} lane)"
                _figure(context, what, opened_s - begun_s, CLUSTER_READY_S)
            installed_s = time.perf_counter() - loaded_s
            _figure(context, f"control plane ready ({lane} lane)", installed_s, MESH_READY_S)
            context.describe(
                mesh_version=driver.version(),
                features=driver.features(),
                engine=cluster.engine,
                configuration={"mutant": mesh_options.mutant},
            )
            yield Lab(cluster, driver, keep=options.keep)
        finally:
            # Also half of a mesh: the cluster is someone's, and goes on.
            if cluster.engine == "external" and not options.keep:
                driver.uninstall(cluster)


def _figure(context: RunContext, name: str, value: float, target: float) -> None:
    figure = Figure(name=name, value=value, unit="s", n=1, target=target, met=value <= target)
    context.figure(figure)


def _mesh_options(options: Options, lane: Lane) -> MeshOptions:
    lifetime_s = SHORT_LEAF_LIFETIME_S if lane is Lane.SHORT else MeshOptions().leaf_lifetime_s
    return MeshOptions(
        leaf_lifetime_s=lifetime_s, proxy_binary=options.proxy_binary, mutant=options.mutant
    )
