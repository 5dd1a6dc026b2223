"""Telling a container's processes from others, also when it has ended."""

from __future__ import annotations

import os

from harness.cluster.embedded.container_run import MountNamespace


def test_holds_who_is_in_it_until_it_is_closed() -> None:
    namespace = MountNamespace(os.getpid())
    assert namespace.inode == os.stat("/proc/self/ns/mnt").st_ino
    assert namespace.holds(os.getpid())
    namespace.close()
    assert not namespace.holds(os.getpid())
    assert namespace.inode == 0


def test_nobody_is_in_that_of_no_process() -> None:
    namespace = MountNamespace(2**22 + 1)
    assert not namespace.holds(os.getpid())
    namespace.close()
