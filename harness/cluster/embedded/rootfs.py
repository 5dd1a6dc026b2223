"""
The file system that a container sees, built in its own mount namespace.

A private tmpfs is the root. The machine's own base system shows read-only in it, with the image's
files and the pod's volumes on top. Where something must appear inside the base system
(`/usr/lib/linkerd`), that base folder becomes a read-only overlay with the mount points in its
upper layer, since nothing can be created in a folder that is bound read-only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from harness.cluster.embedded import syscalls

__all__ = ["STAGE", "build_root"]

STAGE = "/dev/shm"  # noqa: S108 - the engine's own tmpfs lies over it in its mount namespace
"""Where the engine keeps everything: a folder on every Linux system, and no image's source."""

_BASE = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "pki", "protocols", "services", "ssl",
)  # fmt: skip
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_READ_ONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_MASKED_PROC = ("kcore", "keys", "latency_stats", "sched_debug", "timer_list")

_RO_BIND = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY


def build_root(request: dict[str, Any]) -> None:
    """
    Build the root that `request` describes and move into it.

    Must run in a mount namespace of its own whose mounts are private, and in the container's pid
    namespace, since /proc shows the pid namespace of who mounts it.

    request: `mounts` (each `source`, `target`, `read_only`), `files` (path to text), `privileged`,
        `read_only_root`, `cwd`.
    """
    root = f"{STAGE}/root"
    syscalls.mount("tmpfs", root, "tmpfs", syscalls.MS_NODEV, "mode=0755")
    for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp", "home", "opt"):
        os.makedirs(f"{root}/{name}", 0o755, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.chmod(f"{root}/{name}", 0o1777)  # noqa: S103 - as every system has /tmp
    mounts = sorted(request["mounts"], key=lambda each: each["target"].count("/"))
    _show_base(root, mounts)
    _show_etc(root, request["files"])
    _make_dev(root)
    for each in mounts:
        _bind(each["source"], _mount_point(root, each), read_only=each["read_only"])
    privileged = request["privileged"]
    _mount_proc(root, privileged=privileged)
    syscalls.mount("sysfs", f"{root}/sys", "sysfs", 0 if privileged else syscalls.MS_RDONLY)
    with contextlib.suppress(OSError):  # it may lie in something read-only: then chdir says so
        os.makedirs(root + request["cwd"], 0o755, exist_ok=True)
    if request["read_only_root"]:
        syscalls.mount("", root, "", _RO_BIND)
    syscalls.pivot_root(root)


def _show_base(root: str, mounts: list[dict[str, Any]]) -> None:
    for name in _BASE:
        host = f"/{name}"
        if os.path.islink(host):
            os.symlink(os.readlink(host), root + host)
        elif os.path.isdir(host):
            os.mkdir(root + host, 0o755)
            within = [each for each in mounts if each["target"].startswith(f"{host}/")]
            if within:
                _overlay(host, root, within)
            else:
                _bind(host, root + host, read_only=True)


def _overlay(host: str, root: str, mounts: list[dict[str, Any]]) -> None:
    """Show `host` with the mount points of `mounts` added."""
    skeleton = f"{STAGE}/skeleton"
    syscalls.mount("tmpfs", skeleton, "tmpfs", 0, "mode=0755")
    os.mkdir(skeleton + host, 0o755)
    for each in mounts:
        _mount_point(skeleton, each)
    layers = f"lowerdir={skeleton}{host}:{host}"
    syscalls.mount("overlay", root + host, "overlay", syscalls.MS_RDONLY, layers)
    # Lazily: the overlay keeps its layer, and the next base folder needs the place.
    syscalls.unmount(skeleton)


def _mount_point(root: str, mount: dict[str, Any]) -> str:
    target: str = root + os.path.normpath(mount["target"])
    if os.path.isdir(mount["source"]):
        os.makedirs(target, 0o755, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return target


def _bind(source: str, target: str, *, read_only: bool) -> None:
    syscalls.mount(source, target, "", syscalls.MS_BIND)
    if read_only:
        syscalls.mount("", target, "", _RO_BIND | syscalls.MS_NODEV)


def _show_etc(root: str, files: dict[str, str]) -> None:
    for name in _ETC:
        host = f"/etc/{name}"
        if os.path.islink(host):
            os.symlink(os.readlink(host), root + host)
        elif os.path.exists(host):
            _bind(host, _mount_point(root, {"source": host, "target": host}), read_only=True)
    for path, text in files.items():
        Path(root + path).write_text(text)


def _make_dev(root: str) -> None:
    dev = f"{root}/dev"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    # No devices of its own making: those below are mounts of the machine's.
    syscalls.mount("tmpfs", dev, "tmpfs", flags, "mode=0755")
    for name in _DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        syscalls.mount(f"/dev/{name}", f"{dev}/{name}", "", syscalls.MS_BIND)
    os.mkdir(f"{dev}/shm", 0o1777)
    syscalls.mount("shm", f"{dev}/shm", "tmpfs", flags, "mode=1777,size=64m")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{dev}/{name}")


def _mount_proc(root: str, *, privileged: bool) -> None:
    proc = f"{root}/proc"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", proc, "proc", flags)
    if privileged:
        return
    for name in _READ_ONLY_PROC:
        path = f"{proc}/{name}"
        if os.path.exists(path):
            syscalls.mount(path, path, "", syscalls.MS_BIND)
            syscalls.mount("", path, "", _RO_BIND | flags)
    for name in _MASKED_PROC:
        if os.path.exists(f"{proc}/{name}"):
            syscalls.mount(f"{root}/dev/null", f"{proc}/{name}", "", syscalls.MS_BIND)
