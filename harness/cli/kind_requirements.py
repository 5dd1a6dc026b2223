"""
What the kind engine needs of this machine, and how to bring it there.

Docker is asked; one that runs is used as it is. The node image is not built here: that takes a
quarter of an hour, and where a registry can be reached none is needed. Go is asked for only where
something has to be built with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.requirements import Finding, building, program
from harness.cluster.kind import docker, go, host, inotify, node_image, tools
from harness.cluster.kind.node_image import compiled
from harness.errors import EnvironmentLacks, MeshmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.cli.requirements import Machine

__all__ = ["BACKPORTS", "Parts", "examine", "mend", "prepare"]

BACKPORTS = Path("/etc/apt/sources.list.d/meshmark-backports.list")
_BACKPORTED_GO = "golang-1.23-go"


@dataclass(frozen=True, slots=True)
class Parts:
    """
    How Docker and the tools are asked; tests ask others.

    daemon, find_go and tool raise EnvironmentLacks where there is none.
    mirror: where this machine's apt gets Debian 12 from; raises EnvironmentLacks where it does not.
    """

    daemon: Callable[[], docker.Daemon] = docker.daemon
    has_dockerd: Callable[[], bool] = docker.is_installed
    has_init: Callable[[], bool] = host.has_init
    lacks_sys_resource: Callable[[], bool] = host.lacks_sys_resource
    examine_host: Callable[[docker.Daemon], host.Host] = host.examine
    find_go: Callable[[], Path] = go.find
    tool: Callable[[str], str] = tools.find
    image: Callable[[], node_image.Choice | None] = node_image.in_docker
    image_is_outdated: Callable[[], bool] = node_image.is_outdated
    image_can_be_pulled: Callable[[], bool] = node_image.can_be_pulled
    has_old_go: Callable[[], bool] = go.packaged_is_too_old
    mirror: Callable[[], str] = go.debian_mirror
    watchers: Callable[[], int | None] = inotify.limit
    raise_watchers: Callable[[], None] = inotify.raise_limit


def examine(machine: Machine, parts: Parts, *, tests: bool = False) -> list[Finding]:
    """Every requirement, in the order in which a reader should mend them; `tests` as there."""
    found = [_tried(name, partial(parts.tool, name)) for name in tools.MINIMUM]
    builds = [one.name for one in found if not one.met] + _image_to_build(parts)
    return [
        *building(machine, tests=tests),
        program(machine, "docker", "Docker", "docker.io"),
        *_daemon(parts),
        _watchers(parts),
        program(machine, "mmdebstrap", "mmdebstrap", "mmdebstrap"),
        *([_go(parts, builds)] if builds else []),
        *found,
    ]


def prepare(
    machine: Machine, parts: Parts, findings: Sequence[Finding], told: Callable[[str], None]
) -> None:
    """
    Let apt know of Go's package where only Debian's backports have one that is new enough.

    Raises:
        EnvironmentLacks: this is not root, or apt's mirror is not known.

    """
    if any(one.package == _BACKPORTED_GO and not one.met for one in findings):
        line = f"deb {parts.mirror()} bookworm-backports main"
        _require_root(machine, f"write {BACKPORTS}, for {_BACKPORTED_GO}")
        told(f"writing {BACKPORTS}: {line}")
        BACKPORTS.write_text(f"{line}\n", encoding="ascii")


def mend(machine: Machine, parts: Parts, told: Callable[[str], None]) -> None:
    """
    Start Docker where nothing else does, make room for several clusters, build missing tools.

    Raises:
        EnvironmentLacks, ClusterError, NotInTime: one of them failed, or takes root and this is
            not.

    """
    docker_part = _daemon(parts)
    if not parts.has_init():
        if not docker_part[0].met:
            _require_root(machine, "start dockerd")
            told(f"starting dockerd; its log is {docker.start()}")
    # Root renews it; as another user, one that works will do.
    elif parts.lacks_sys_resource() and (machine.is_root() or _lacking(docker_part)):
        _require_root(machine, "install Docker's runtime for this machine")
        told(f"Docker's runtime for this machine is {docker.install_runtime()}")
    if not _watchers(parts).met and machine.is_root():
        parts.raise_watchers()
        told(f"fs.inotify.max_user_instances is now {inotify.WANTED}, until the machine restarts")
    for name, build in (("kind", compiled.kind), ("kubectl", compiled.kubectl)):
        if not _tried(name, partial(parts.tool, name)).met:
            told(f"building {name} from its Go module: a minute or two")
            tools.keep(name, build() / name)


def _go(parts: Parts, builds: Sequence[str]) -> Finding:
    return _tried(
        f"Go, to build {' and '.join(builds)}",
        lambda: str(parts.find_go()),
        package=_BACKPORTED_GO if parts.has_old_go() else "golang-go",
    )


def _image_to_build(parts: Parts) -> list[str]:
    """The node image, where Docker has none that is current and no registry can be reached."""
    try:
        there = parts.image() is not None
    except MeshmarkError:  # no Docker yet, which is told by itself
        return []
    return [] if there or parts.image_can_be_pulled() else ["the node image"]


def _require_root(machine: Machine, what: str) -> None:
    if not machine.is_root():
        raise EnvironmentLacks(
            f"only root can {what}: run `meshmark doctor --cluster kind --fix` as root"
        )


def _lacking(findings: Sequence[Finding]) -> bool:
    return any(one.needed and not one.met for one in findings)


def _daemon(parts: Parts) -> list[Finding]:
    """Whether Docker answers, and then: whether nodes can run here, and the image they need."""
    try:
        daemon = parts.daemon()
    except MeshmarkError as error:
        return [_unanswered(parts, error)]
    image = parts.image()
    none = "one that is out of date" if parts.image_is_outdated() else "none"
    findings = [
        Finding(name="Docker answers", met=True, detail=f"version {daemon.server_version}"),
        _nodes(parts, parts.examine_host(daemon), image),
    ]
    detail = f"{image.reference}: {image.reason}" if image else f"Docker has {none}"
    remedy = "pulled when it is needed; without a registry: run `meshmark node-image build`"
    return [
        *findings,
        Finding(name="node image", met=bool(image), needed=False, detail=detail, remedy=remedy),
    ]


def _unanswered(parts: Parts, error: MeshmarkError) -> Finding:
    name = "Docker answers"
    if not parts.has_dockerd():  # a client alone, perhaps of a Docker elsewhere
        return Finding(name=name, met=False, detail=str(error), package="docker.io")
    remedy = "run `meshmark doctor --cluster kind --fix` as root, which starts one"
    return Finding(
        name=name, met=False, detail=str(error), remedy="" if parts.has_init() else remedy
    )


def _nodes(parts: Parts, found: host.Host, image: node_image.Choice | None) -> Finding:
    detail = f"cgroup v{found.cgroups}"
    if not found.sys_resource:
        detail += f", no CAP_SYS_RESOURCE, Docker's runtime is {found.runtime}"
    wanted = image or node_image.Choice(node_image.PINNED, "")
    try:
        host.refuse(found, kubernetes=wanted.kubernetes, init=parts.has_init())
    except EnvironmentLacks as error:
        return Finding(name="nodes in containers", met=False, remedy=str(error))
    return Finding(name="nodes in containers", met=True, detail=detail)


def _watchers(parts: Parts) -> Finding:
    """Whether several clusters fit; one does with any limit, so it is not needed."""
    found = parts.watchers()
    return Finding(
        name="watchers of files for several clusters",
        met=found is None or found >= inotify.WANTED,
        needed=False,
        detail="" if found is None else f"{found}",
        remedy=f"one cluster at a time fits; for more {inotify.remedy()}",
    )


def _tried(name: str, attempt: Callable[[], str], *, package: str = "") -> Finding:
    try:
        return Finding(name=name, met=True, detail=attempt(), package=package)
    except EnvironmentLacks as error:
        return Finding(name=name, met=False, remedy=str(error), package=package)
