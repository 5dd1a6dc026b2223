"""
`refmesh check` on a real cluster on which one thing is wrong.

What goes wrong is what the causes say, on a mesh that runs; `live_api` and `live_acts` bring it
about. The first causes are of a cluster without a mesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from harness.waiting import until
from reference_mesh.cli import main
from tests.reference_mesh.cli.breaking import HOOKS
from tests.reference_mesh.cli.causes.every import BEFORE, CAUSES
from tests.reference_mesh.cli.causes.model import HA, PRE, Cause, assert_told, found
from tests.reference_mesh.cli.live import REFRESHED_S, install, started, told
from tests.reference_mesh.cli.live_api import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.cluster import Cluster

# Of a test alone: the mesh's programs may have to be built first.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

TOLD_S = 60
"""A kubelet tells of its pods within seconds, when it is not busy."""

MOUNTED = {*HOOKS, "certificate", "issuer", "trust"}
"""First words of the checks of what the mesh reads from volumes."""

WITHOUT = [cause for cause in CAUSES if cause.description == "control plane Namespace exists"]
"""Of a cluster on which the mesh is not."""


def caused(causes: Sequence[Cause]) -> Any:
    """
    Parameters of a test: those that a cluster can have, together where one act causes several.

    What is mounted comes last: on kind, the mesh may have what it was given for minutes.
    """
    live = [cause for cause in causes if not isinstance(cause.live, str)]
    together: dict[Any, list[Cause]] = {}
    for cause in sorted(live, key=lambda cause: cause.description.split()[0] in MOUNTED):
        together.setdefault((cause.live or cause.act, cause.options), []).append(cause)
    return pytest.mark.parametrize(
        "causes", together.values(), ids=lambda causes: ", ".join(c.description for c in causes)
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started("refmesh-causes") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mesh(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The objects of the mesh that was installed on the cluster."""
    return install(cluster, tmp_path_factory.mktemp("credentials"))


@caused([*BEFORE, *WITHOUT])
def test_failure_is_told_without_a_mesh(
    cluster: Cluster, causes: list[Cause], tmp_path: Path
) -> None:
    options = PRE if causes[0] in BEFORE else causes[0].options
    assert_are_told(cluster, [], causes, options, tmp_path)


@caused([cause for cause in CAUSES if cause not in WITHOUT])
def test_failure_is_told(
    cluster: Cluster, mesh: list[dict[str, Any]], causes: list[Cause], tmp_path: Path
) -> None:
    options = () if causes[0].options == HA else causes[0].options  # it was installed so
    assert_are_told(cluster, mesh, causes, options, tmp_path)


def test_check_is_good_again(cluster: Cluster, mesh: list[dict[str, Any]]) -> None:
    assert mesh
    until(
        lambda: told(cluster, "--wait", "0s"),
        what="check complains of nothing",
        holds=lambda complaints: complaints == {},
        timeout_s=REFRESHED_S,
    )
    assert list(told(cluster, "--proxy", "--wait", "0s")) == ["data plane proxies are ready"]


def assert_are_told(
    cluster: Cluster,
    manifest: Sequence[dict[str, Any]],
    causes: Sequence[Cause],
    options: Sequence[str],
    folder: Path,
) -> None:
    act = causes[0].live or causes[0].act
    assert not isinstance(act, str)
    with broken(cluster, manifest, folder, act) as api:

        def check() -> Result:
            arguments = ["--kubeconfig", api.kubeconfig, "check", "--wait", "0s", "-o", "json"]
            return CliRunner().invoke(main, [*arguments, *options], catch_exceptions=False)

        for cause in causes:
            assert_told(until_told(check, cause), cause)


def until_told(check: Callable[[], Result], cause: Cause) -> Result:
    """Wait until `check` says what it should, in a run of its own; returns that run."""

    def said() -> tuple[str, Result]:
        result = check()
        return found(result, cause.description).get("error", ""), result

    return until(
        said,
        what=f"`refmesh check` says of {cause.description!r}: {cause.said}",
        holds=lambda told: cause.said in told[0],
        timeout_s=TOLD_S,
    )[1]
