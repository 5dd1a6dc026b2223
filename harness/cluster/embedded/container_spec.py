"""
From a container's specification to the request that the spawner takes.

Everything here is a pure function of the pod, the image and the node's facts. What the engine does
not have is refused by name, so that nothing in a manifest is silently ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.environment import expand, hostname, parse_quantity
from harness.cluster.embedded.rootfs import STAGE
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cluster.embedded.api.node import Image
    from harness.cluster.embedded.store import Obj
    from harness.cluster.embedded.volumes import PodVolumes

__all__ = ["CAPABILITIES", "exec_request", "request", "shares_pids"]

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By number; see capabilities(7)."""

_DEFAULT = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip
"""
What container runtimes give a container that asks for nothing, but for MKNOD: nothing here keeps a
container from the devices that it could make with it.
"""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MESSAGE_PATH = "/dev/termination-log"
_NAMESERVER = "10.96.0.10"
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"


def shares_pids(pod: Obj) -> bool:
    """Whether the pod's containers see each other's processes."""
    return bool(pod["spec"].get("shareProcessNamespace"))


def request(
    pod: Obj, container: Obj, image: Image, env: Mapping[str, str], volumes: PodVolumes
) -> dict[str, Any]:
    """
    What `container.run_container` takes, apart from the sandbox.

    Raises:
        ClusterError: the container asks for something that this engine does not have.

    """
    env = {"PATH": _PATH, **env}
    privileges = _privileges(pod, container, image)
    image_mounts = [
        {"source": bind.source, "target": bind.target, "read_only": True} for bind in image.binds
    ]
    message_file = f"{STAGE}/pods/{pod['metadata']['uid']}/messages/{container['name']}"
    last_word = {
        "source": message_file,
        "target": container.get("terminationMessagePath") or _MESSAGE_PATH,
        "read_only": False,
    }
    return {
        "mounts": [*image_mounts, last_word, *_volume_mounts(container, volumes, env)],
        "message_file": message_file,
        "files": _etc(pod, privileges["uid"], privileges["gid"]),
        "read_only_root": bool(_security(container).get("readOnlyRootFilesystem")),
        "share_pids": shares_pids(pod),
        "command": _command(container, image, env),
        "env": env,
        "cwd": container.get("workingDir") or "/",
        "cgroups": [],
        "limits": _limits(container),
        **privileges,
    }


def exec_request(started: Mapping[str, Any], target: int, command: list[str]) -> dict[str, Any]:
    """A request to run `command` beside a container's first process, with its privileges."""
    return {**started, "target": target, "command": command}


def _privileges(pod: Obj, container: Obj, image: Image) -> dict[str, Any]:
    of_pod = pod["spec"].get("securityContext") or {}
    own = _security(container)

    def chosen(name: str) -> Any:
        return own[name] if own.get(name) is not None else of_pod.get(name)

    uid = chosen("runAsUser")
    uid = (image.user or 0) if uid is None else int(uid)
    if uid == 0 and chosen("runAsNonRoot"):
        raise ClusterError(
            f'container "{container["name"]}" has runAsNonRoot and image will run as root: '
            "set runAsUser"
        )
    groups = list(of_pod.get("supplementalGroups") or [])
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    privileged = bool(own.get("privileged"))
    return {
        "uid": uid,
        "gid": int(chosen("runAsGroup") or 0),
        "groups": groups,
        "privileged": privileged,
        "capabilities": _permitted() if privileged else _capabilities(own) & _permitted(),
        "no_new_privileges": own.get("allowPrivilegeEscalation") is False and not privileged,
    }


def _capabilities(security: Obj) -> int:
    asked = security.get("capabilities") or {}
    added = {_capability(name) for name in asked.get("add") or ()}
    dropped = {_capability(name) for name in asked.get("drop") or ()}
    everything = set(CAPABILITIES)
    kept = set() if "ALL" in dropped else set(_DEFAULT) - dropped
    kept |= everything if "ALL" in added else added
    return sum(1 << CAPABILITIES.index(name) for name in kept)


def _capability(name: str) -> str:
    short = name.upper().removeprefix("CAP_")
    if short != "ALL" and short not in CAPABILITIES:
        raise ClusterError(f"securityContext.capabilities: there is no capability {name!r}")
    return short


def _permitted() -> int:
    """What this process may pass on at all: some machines lack a capability."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapPrm:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def _limits(container: Obj) -> dict[str, float]:
    """Cores and bytes that the container may not exceed; what is not limited is not in it."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return {
        name: float(parse_quantity(limits[name])) for name in ("cpu", "memory") if name in limits
    }


def _volume_mounts(
    container: Obj, volumes: PodVolumes, env: Mapping[str, str]
) -> list[dict[str, Any]]:
    mounts = []
    for mount in container.get("volumeMounts") or ():
        source = volumes.path(mount["name"])
        below = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        if below:
            if ".." in Path(below).parts:
                raise ClusterError(f"volumeMounts: subPath {below!r} must not contain '..'")
            source = source / below.lstrip("/")
            if not source.exists():
                source.mkdir(mode=0o777, parents=True)
        mounts.append({
            "source": str(source.resolve()),
            "target": mount["mountPath"],
            "read_only": bool(mount.get("readOnly")),
        })  # fmt: skip
    return mounts


def _command(container: Obj, image: Image, env: Mapping[str, str]) -> list[str]:
    # As in Kubernetes: a command replaces the image's own, arguments come after either.
    command = list(container.get("command") or image.entrypoint)
    whole = [*command, *(container.get("args") or ())]
    if not whole:
        raise ClusterError(
            f'container "{container["name"]}": neither it nor its image names a command'
        )
    return [expand(word, env) for word in whole]


def _etc(pod: Obj, uid: int, gid: int) -> dict[str, str]:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    name = hostname(pod)
    users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
    groups = "root:x:0:\nnogroup:x:65534:\n"
    if uid not in {0, 65534}:
        users += f"user:x:{uid}:{gid}::/:/bin/sh\n"
    if gid not in {0, 65534}:
        groups += f"user:x:{gid}:\n"
    hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{pod['status']['podIP']}\t{name}\n"
    for alias in spec.get("hostAliases") or ():
        hosts += f"{alias['ip']}\t{' '.join(alias.get('hostnames') or ())}\n"
    return {
        "/etc/passwd": users,
        "/etc/group": groups,
        "/etc/hosts": hosts,
        "/etc/hostname": f"{name}\n",
        "/etc/nsswitch.conf": _NSSWITCH,
        "/etc/resolv.conf": _resolver(spec, namespace),
    }


def _resolver(spec: Obj, namespace: str) -> str:
    own = spec.get("dnsConfig") or {}
    nameservers, searches, options = [], [], []
    if spec.get("dnsPolicy", "ClusterFirst") != "None":
        nameservers = [_NAMESERVER]
        searches = [f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
        options = ["ndots:5"]
    nameservers += own.get("nameservers") or []
    searches += own.get("searches") or []
    for option in own.get("options") or ():
        value = option.get("value")
        options.append(option["name"] if value is None else f"{option['name']}:{value}")
    lines = [f"nameserver {address}" for address in nameservers]
    lines += [f"search {' '.join(searches)}"] if searches else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _security(container: Obj) -> Obj:
    return container.get("securityContext") or {}
