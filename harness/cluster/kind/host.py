"""
What kind of machine this is for Kubernetes nodes in containers, and what follows from it.

On one with cgroup v2 and all capabilities nothing does. Older control groups and a missing
CAP_SYS_RESOURCE, as in some virtual machines and nested containers, can be lived with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from harness.cluster.kind.docker import Daemon

__all__ = [
    "FOLDER", "RUNTIME", "RUNTIME_PROGRAM", "Host", "examine", "has_init", "kind_config",
    "lacks_sys_resource", "refuse",
]  # fmt: skip

FOLDER = Path("/var/lib/meshmark")
"""Of what belongs to the machine and not to a user, as Docker does; root's."""

RUNTIME = "meshmark"
"""What Docker calls the runtime that does without CAP_SYS_RESOURCE, see `runc_wrapper`."""

RUNTIME_PROGRAM = FOLDER / "runc-without-sys-resource"

_SYS_RESOURCE_BIT = 24
_LAST_WITH_CGROUP_V1 = (1, 34)

_START = (
    "End this Docker; then `meshmark doctor --cluster kind --fix`, as root, starts one that has it"
)
_CONFIGURE = (
    "`meshmark doctor --cluster kind --fix`, as root, installs that; then add "
    f'"default-runtime": "{RUNTIME}", "runtimes": {{"{RUNTIME}": {{"path": "{RUNTIME_PROGRAM}"}}}} '
    "to /etc/docker/daemon.json and run `systemctl restart docker`"
)
_OOM_SCORES = """[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
"""


@dataclass(frozen=True, slots=True)
class Host:
    """
    The facts that matter.

    cgroups: version of the control groups, 1 or 2. sys_resource: whether it has the capability.
    runtime: what Docker runs containers with unless told otherwise.
    """

    cgroups: int
    sys_resource: bool
    runtime: str


def examine(daemon: Daemon) -> Host:
    """The host of this Docker, which is taken to be this machine."""
    version = int(daemon.cgroup_version) if daemon.cgroup_version.isdigit() else 2
    return Host(version, not lacks_sys_resource(), daemon.default_runtime)


def lacks_sys_resource(status: str = "") -> bool:
    """Whether no process here can get CAP_SYS_RESOURCE. status: text as in /proc/PID/status."""
    status = status or Path("/proc/self/status").read_text(encoding="ascii")
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapBnd":
            return not int(value, 16) >> _SYS_RESOURCE_BIT & 1
    return False


def has_init() -> bool:
    """Whether an init system runs that starts services; systemd says so by this folder."""
    return Path("/run/systemd/system").is_dir()


def refuse(found: Host, *, kubernetes: tuple[int, int], init: bool | None = None) -> None:
    """
    Make sure that nodes of this Kubernetes can run here.

    init: whether an init system runs Docker; None asks this machine.

    Raises:
        EnvironmentLacks: they cannot; says why and what to do.

    """
    if found.cgroups == 1 and kubernetes > _LAST_WITH_CGROUP_V1:
        raise EnvironmentLacks(
            f"this machine has cgroup v1, and Kubernetes {kubernetes[0]}.{kubernetes[1]} needs v2: "
            "take a node image of 1.34 or older, or boot with systemd.unified_cgroup_hierarchy=1"
        )
    if not found.sys_resource and found.runtime != RUNTIME:
        raise EnvironmentLacks(
            "this machine lacks CAP_SYS_RESOURCE, and Docker asks for it when it starts a node: "
            f"its default runtime must be our {RUNTIME!r} and is {found.runtime!r}. "
            + (_CONFIGURE if (has_init() if init is None else init) else _START)
        )


def kind_config(found: Host) -> dict[str, Any]:
    """What a kind cluster must be told on such a host, in kind's own words; mostly nothing."""
    config: dict[str, Any] = {}
    if found.cgroups == 1:
        patch = {"kind": "KubeletConfiguration", "failCgroupV1": False}
        config["kubeadmConfigPatches"] = [yaml.safe_dump(patch, sort_keys=False)]
    if not found.sys_resource:
        config["featureGates"] = {"KubeletInUserNamespace": True}
        config["containerdConfigPatches"] = [_OOM_SCORES]
    return config
