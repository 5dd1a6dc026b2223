"""
The Linux system calls that Python 3.11 does not wrap, by ctypes.

Everything here runs in the small process that starts containers, so it imports nothing that is
slow to import. Each function raises OSError naming the call and its object.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "die_with_parent",
    "drop_bounding",
    "keep_capabilities",
    "mount",
    "no_new_privileges",
    "pivot_root",
    "set_capabilities",
    "set_process_name",
    "setns",
    "unmount",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWord(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones; a pid namespace takes the children."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(path: str) -> None:
    """Enter the namespace that `path` (below /proc/PID/ns) names; it is opened first."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, 0), f"setns({path})")
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount `source` of file system type `kind` at `target`; for binds `kind` is empty."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, f"mount({source} on {target}, {kind or 'bind'}, {flags:#x})")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """Take the mount at `target` away; lazily by default, so that open files do not hold it."""
    _check(_libc.umount2(target.encode(), flags), f"umount({target})")


def pivot_root(new_root: str) -> None:
    """Make `new_root`, a mount point, the root of this mount namespace and drop the old one."""
    number = _SYS_PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root: no system call number known for {platform.machine()}")
    os.chdir(new_root)
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root({new_root})")
    # The old root is stacked under the new one at the same place; see pivot_root(2), NOTES.
    unmount(".")
    os.chdir("/")


def die_with_parent(sent: int = signal.SIGKILL) -> None:
    """Have the kernel send `sent` to this process when the thread that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def set_process_name(name: str) -> None:
    """Show `name` (15 bytes at most) as this process's name in /proc/PID/comm."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def no_new_privileges() -> None:
    """Forbid this process and its children to gain privileges by exec (setuid, file caps)."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def keep_capabilities() -> None:
    """Keep the permitted set over the next setuid to another user than root."""
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")


def drop_bounding(kept: int) -> None:
    """Remove every capability that is not a bit of `kept` from the bounding set."""
    for number in range(_LAST_CAPABILITY + 1):
        if kept >> number & 1 or _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
            continue
        if ctypes.get_errno() == errno.EINVAL:
            return  # the first number that this kernel does not know
        _check(-1, f"prctl(PR_CAPBSET_DROP, {number})")


def set_capabilities(mask: int) -> None:
    """Set effective and permitted to `mask`, inheritable to nothing."""
    header = _CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    words = (_CapabilityWord * 2)(_CapabilityWord(low, low, 0), _CapabilityWord(high, high, 0))
    _check(_libc.capset(ctypes.byref(header), words), f"capset({mask:#x})")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
