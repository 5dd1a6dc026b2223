"""
Starting and ending kind clusters, without ever touching one that somebody else made.

A cluster that stays is recorded with the container ids of its nodes: another one of the same name
has others. One that ends with its maker has a guard, see `guard`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.cluster import places
from harness.cluster.kind import docker, host, node_image, nodes
from harness.cluster.kind.claim import claimed
from harness.cluster.kind.config import cluster_config
from harness.cluster.kind.engine import KindCluster
from harness.cluster.kind.guard import guarded
from harness.cluster.kind.program import is_another, kind, program
from harness.cluster.kubeconfig import write_private
from harness.errors import ClusterError, MeshmarkError, NotInTime, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.cluster.kind.guard import Guard
    from harness.cluster.model import Image

__all__ = [
    "WORKERS",
    "attach",
    "down",
    "failed_stays",
    "is_up",
    "record",
    "refuse",
    "require",
    "settings",
    "start",
    "up",
]

WORKERS = 2
"""Nodes for pods: two, so that traffic crosses from one to the other."""

_CREATE_S = 300.0
"""Ten times what it takes on two cores; kind gives up on a node that does not boot after 30 s."""
READY_S = 120.0


class _Record(msgspec.Struct):
    nodes: dict[str, str]


@contextlib.contextmanager
def start(
    name: str = "meshmark", *, port: int = 0, workers: int = WORKERS, images: Sequence[Image] = ()
) -> Iterator[KindCluster]:
    """
    A cluster that lives as long as the context, and ends with the caller if that is killed.

    port: of the API on 127.0.0.1; 0 takes any free one.

    Raises:
        EnvironmentLacks: Docker, kind, the node image or space is missing; names what to do.
        UsageError: there is a kind cluster of that name, or one is being made.
        ClusterError, NotInTime: it did not come up; the message ends with what its nodes said.

    """
    with _made(name, port, workers, images) as (cluster, _):
        yield cluster


def up(
    name: str = "meshmark",
    *,
    port: int = 0,
    workers: int = WORKERS,
    images: Sequence[Image] = (),
    keep_failed: bool = False,
) -> KindCluster:
    """
    Start a cluster that stays until `down`; raises as `start`.

    keep_failed: leave the nodes of one that does not come up, to look at; else nothing stays.
    """
    with _made(name, port, workers, images, keep_failed=keep_failed) as (cluster, guard):
        record(name, cluster.kubeconfig)
        guard.dismiss()
    return attach(name)


def attach(name: str = "meshmark") -> KindCluster:
    """
    The cluster that `up` started.

    Raises:
        UsageError: none of that name is up.

    """
    if not is_up(name):
        raise UsageError(f"no kind cluster {name} is up: run `meshmark up --cluster kind`")
    return KindCluster(name, _folder(name) / "kubeconfig")


def down(name: str = "meshmark") -> bool:
    """
    Delete a cluster that `up` started; False when there is none.

    Raises:
        EnvironmentLacks, ClusterError: it could not be deleted.

    """
    was_up = is_up(name)
    if was_up:
        kubeconfig = _folder(name) / "kubeconfig"
        kind("delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig),
             timeout_s=_CREATE_S)  # fmt: skip
    shutil.rmtree(_folder(name), ignore_errors=True)
    return was_up


def is_up(name: str) -> bool:
    """
    Whether a cluster of this name is up that `up` started, and not another in its place.

    One that lost nodes still is.
    """
    places.check_name(name)
    try:
        raw = (_folder(name) / "kind.json").read_bytes()
        made = msgspec.json.decode(raw, type=_Record).nodes
    except (OSError, msgspec.DecodeError):
        return False
    found = nodes.ids(name)
    return bool(found) and found.items() <= made.items()


def refuse(name: str) -> None:
    """
    Make sure that a cluster of this name would be a new one.

    Raises:
        UsageError: there is one; says whose it is and what to do.

    """
    if is_up(name):
        raise UsageError(
            f"kind cluster {name} is up already: use it with "
            f"`export KUBECONFIG={_folder(name) / 'kubeconfig'}`, or run "
            f"`meshmark down --name {name}` first"
        )
    if found := nodes.ids(name):
        raise UsageError(
            f"there is a kind cluster {name} that meshmark did not make ({', '.join(found)}): take "
            f"another name, run on it with `--cluster context:kind-{name}`, or, if nobody needs "
            f"it, delete it with `kind delete cluster --name {name}`"
        )


def require() -> None:
    """
    Check what the engine needs of this machine.

    Raises:
        EnvironmentLacks: names what is missing and how to get it.

    """
    program("kind")
    settings(workers=0)


def settings(*, workers: int, port: int = 0, image: str = "") -> str:
    """
    The configuration of a cluster on this machine, as YAML for kind.

    image: of the nodes; empty takes ours.

    Raises:
        EnvironmentLacks: there is no Docker or no node image, or no node can run here.

    """
    found = host.examine(docker.daemon())
    chosen = node_image.node_image(image)
    host.refuse(found, kubernetes=chosen.kubernetes)
    return cluster_config(
        image=chosen.reference,
        workers=workers,
        port=port,
        host=host.kind_config(found),
    )


def record(name: str, kubeconfig: Path) -> None:
    """
    Write down a cluster that stays, for `attach` and `down`.

    Raises:
        ClusterError: Docker knows none of its nodes.

    """
    made = nodes.ids(name)
    if not made:
        raise ClusterError(
            f"kind cluster {name} was made, but Docker knows none of its nodes: see what "
            "`docker context ls` and DOCKER_HOST say, and run this again"
        )
    folder, owner = _folder(name), places.invoking_user()
    places.make(folder)
    known = kubeconfig.read_text() if kubeconfig.exists() else ""  # none until it has an API
    write_private(folder / "kubeconfig", known, owner)
    write_private(folder / "kind.json", msgspec.json.encode(_Record(made)).decode(), owner)


@contextlib.contextmanager
def failed_stays(name: str, kubeconfig: Path, guard: Guard) -> Iterator[None]:
    """
    Leave a cluster that does not come up in the block to whoever wants to look at it.

    Raises:
        ClusterError, NotInTime: those of the block, with what to look at and how to end it.

    """
    try:
        yield
    except (ClusterError, NotInTime) as error:
        if not nodes.ids(name):
            raise
        record(name, kubeconfig)
        guard.dismiss()
        raise type(error)(
            f"{error}\nIts nodes stay: look with `docker exec -it {name}-control-plane bash` and "
            f"`docker ps -a`, and remove them with `meshmark down --name {name}`"
        ) from error


@contextlib.contextmanager
def _made(
    name: str, port: int, workers: int, images: Sequence[Image], *, keep_failed: bool = False
) -> Iterator[tuple[KindCluster, Guard]]:
    """A new cluster; it is gone after the block unless its guard was dismissed."""
    with contextlib.ExitStack() as claim:
        claim.enter_context(claimed(name))
        refuse(name)
        config = settings(workers=workers, port=port)  # pulls an image, so before the guard
        folder = Path(tempfile.mkdtemp(prefix="meshmark-kind-"))
        with (
            guarded(name, folder) as guard,
            contextlib.closing(KindCluster(name, folder / "kubeconfig")) as cluster,
        ):
            with (
                failed_stays(name, cluster.kubeconfig, guard)
                if keep_failed
                else contextlib.nullcontext()
            ):
                _create(cluster, config, guard)
                claim.close()  # from now on its nodes have the name
                cluster.ready(READY_S)
                cluster.load_images(images)
            yield cluster, guard


def _create(cluster: KindCluster, config: str, guard: Guard) -> None:
    file = cluster.kubeconfig.with_name("kind.yaml")
    file.write_text(config)
    try:
        kind(
            "create", "cluster", "--name", cluster.name, "--config", str(file),
            "--kubeconfig", str(cluster.kubeconfig), "--retain", "--wait", "0s",
            timeout_s=_CREATE_S, pass_fds=[guard.lifeline],
        )  # fmt: skip
    except MeshmarkError as error:
        if is_another(str(error)):  # made since we looked
            guard.dismiss()
            refuse(cluster.name)
        if not isinstance(error, ClusterError | NotInTime):
            raise
        said = nodes.last_words(cluster.name)
        raise type(error)(f"kind cluster {cluster.name} did not come up: {error}\n{said}") from None


def _folder(name: str) -> Path:
    """No cluster's name has a dot, so this is no folder of another engine."""
    return places.state_folder() / f"{name}.kind"
