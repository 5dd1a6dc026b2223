"""What every suite stands on: a cluster per lane, with the mesh installed and a lab in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from typing import TYPE_CHECKING

import httpx2
import msgspec
import pytest

from harness import mesh as meshes
from harness.cluster import choice
from harness.cluster.images import archived
from harness.errors import ClusterError
from harness.mesh.protocol import MeshOptions
from harness.record.catalogue import Lane
from harness.record.model import Figure
from harness.workload import image as workload_image
from suites import kind_plugin
from suites.lab import Lab
from suites.lanes import Lanes
from suites.logbook import Logbook
from suites.mutants import control_plane, refmesh
from suites.probes import probing
from suites.vacancy import removal, require_vacant

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from harness.cluster import Cluster, Image
    from harness.mesh.protocol import Mesh
    from harness.plugin import Check, Options, RunContext

CLUSTER_READY_S = {"embedded": 3.0, "kind": 30.0}
MESH_READY_S = {"embedded": 10.0}
_MESH_READY_ELSEWHERE_S = 30.0
"""What was aimed at on two cores, by engine; figures of the report, and no test's time limit."""

SHORT_LEAF_LIFETIME_S = 20.0
"""How long certificates of the short lane live: three renewals fit into a minute."""


def pytest_meshmark_prepare(
    config: pytest.Config, options: Options, progress: Callable[[str], None]
) -> None:
    """Build every program that the run needs, before any process of it starts."""
    if options.engine == "external":
        with choice.opened(options.cluster, name="") as cluster:
            require_vacant(meshes.driver(options.mesh), cluster)
    progress("building the workload")
    workload = workload_image.build()
    progress(f"building what mesh {options.mesh} runs")
    build(options, _mesh_options(options, Lane.STEADY), workload, progress=progress)


def build(
    options: Options,
    mesh_options: MeshOptions,
    *others: Image,
    progress: Callable[[str], None],
) -> None:
    """
    Build the images of a mesh, and bring them and the others into the form the engine takes.

    progress: is told what is done, a line at a time.
    """
    images = [*meshes.driver(options.mesh).images(mesh_options), *others]
    pack(options, images, progress)


def pack(options: Options, images: Sequence[Image], progress: Callable[[str], None]) -> None:
    """
    For the engine with real nodes, make real images.

    A cluster made elsewhere must come by them itself: it is told which.
    """
    if options.engine == "external":
        names = ", ".join(image.reference for image in images)
        progress(f"{options.cluster} must have, or be able to pull: {names}")
    for image in images if options.engine == "kind" else ():
        archived(image)


@pytest.fixture(scope="session")
def lab_of(
    request: pytest.FixtureRequest, run_options: Options, run_context: RunContext
) -> Iterator[Callable[[Lane], Lab]]:
    """The lab of a lane; its cluster starts and its mesh is installed when first asked for."""
    options = kind_plugin.keeping(request.config, run_options)

    def make(lane: Lane) -> AbstractContextManager[Lab]:
        return _lab(options, run_context, lane, _cluster(request, options, lane))

    with Lanes("cluster with a mesh", make, lambda lab: lab.cluster.require_answer()) as labs:
        yield labs.of


@pytest.fixture
def lab(check: Check, lab_of: Callable[[Lane], Lab]) -> Lab:
    """The lab of this check's lane."""
    with check.phase("arrange"):
        return lab_of(check.entry.lane)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """
    Tell of a check whose request got no answer what is known of a cluster that is gone.

    Raises:
        ClusterError: its API server does not answer any more.

    """
    try:
        return (yield)
    except httpx2.TransportError as error:
        arguments: dict[str, object] = getattr(item, "funcargs", {})
        found = arguments.get("lab")
        if isinstance(found, Lab):
            _require_answer(found.cluster, error)
        raise


def _require_answer(cluster: Cluster, error: Exception) -> None:
    try:
        cluster.require_answer()
    except ClusterError as silent:
        raise silent from error


@contextlib.contextmanager
def _cluster(request: pytest.FixtureRequest, options: Options, lane: Lane) -> Iterator[Cluster]:
    """The cluster of a lane, made by pytest-kind where that is loaded."""
    if options.engine == "kind" and kind_plugin.is_loaded(request.config):
        with contextlib.closing(kind_plugin.made(request, lane, keep=options.keep)) as cluster:
            yield cluster
        return
    name = f"meshmark-{lane}-{os.getpid()}"
    with choice.opened(options.cluster, name=name, keep=options.keep) as cluster:
        yield cluster


@contextlib.contextmanager
def _lab(
    options: Options, context: RunContext, lane: Lane, opening: AbstractContextManager[Cluster]
) -> Iterator[Lab]:
    driver = meshes.driver(options.mesh)
    mesh_options = _mesh_options(options, lane)
    begun_s = time.perf_counter()
    with opening as cluster, Logbook() as logbook:
        opened_s = time.perf_counter()
        if cluster.engine == "external":
            require_vacant(driver, cluster)
        if options.keep:
            context.hint(_way_out(driver, cluster))
        cluster.load_images([workload_image.build(), *driver.images(mesh_options)])
        loaded_s = time.perf_counter()
        try:
            driver.install(cluster, mesh_options)
            installed_s = time.perf_counter() - loaded_s
            if cluster.engine in CLUSTER_READY_S:
                what, target_s = f"cluster ready ({lane} lane)", CLUSTER_READY_S[cluster.engine]
                _figure(context, what, opened_s - begun_s, target_s)
            what = f"control plane ready ({lane} lane)"
            target_s = MESH_READY_S.get(cluster.engine, _MESH_READY_ELSEWHERE_S)
            _figure(context, what, installed_s, target_s)
            context.describe(
                mesh_version=driver.version(),
                features=driver.features(),
                engine=cluster.engine,
                configuration={"mutant": mesh_options.mutant},
            )
            with probing(cluster) as probes:
                yield Lab(cluster, driver, mesh_options, logbook, options.keep, probes)
        finally:
            # Also half of a mesh: the cluster is someone's, and goes on.
            if cluster.engine == "external" and not options.keep:
                driver.uninstall(cluster)


def _way_out(driver: Mesh, cluster: Cluster) -> str:
    """Where the cluster that is kept is, and how to be rid of what is kept."""
    if cluster.engine == "external":
        return f"kept on cluster {cluster.name}; ends with: {removal(driver, cluster)}"
    point = f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}"
    return f"kept: {point}  (ends with: meshmark down --name {cluster.name})"


def _figure(context: RunContext, name: str, value: float, target: float) -> None:
    figure = Figure(name=name, value=value, unit="s", n=1, target=target, met=value <= target)
    context.figure(figure)


def _mesh_options(options: Options, lane: Lane) -> MeshOptions:
    lifetime_s = SHORT_LEAF_LIFETIME_S if lane is Lane.SHORT else MeshOptions().leaf_lifetime_s
    plain = MeshOptions(leaf_lifetime_s=lifetime_s, proxy_binary=options.proxy_binary)
    if options.mutant is None:
        return plain
    return msgspec.structs.replace(
        plain,
        mutant=options.mutant,
        control_plane_module=control_plane.__name__,
        refmesh_module=refmesh.__name__,
    )
