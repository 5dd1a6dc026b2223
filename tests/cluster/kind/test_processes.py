"""Processes of a pod, read from the text that a node prints."""

from __future__ import annotations

import subprocess

from harness.cluster.kind import processes

APP, SIDE = "a" * 64, "b" * 64
SAID = f"""@ 41
0::/kubelet/kubepods/pod1/cri-containerd-{APP}.scope
55d0-7ffe ---p 00000000 00:00 0    [rollup]
Rss:                2048 kB
Pss:                1000 kB
Private_Dirty:       300 kB
Name:\tapp) (x
VmHWM:\t    4096 kB
41 (app) (x) S 1 41 41 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 100 1000 10
@ 42
0::/kubelet/kubepods/pod1/cri-containerd-{SIDE}.scope
@ 43
0::/kubelet/kubepods/pod1/cri-containerd-{"c" * 64}.scope
"""


def test_facts_are_of_the_pod_and_in_bytes_and_seconds() -> None:
    [facts] = processes.facts(SAID, {APP: "app", SIDE: "side"})

    assert (facts.container, facts.pid, facts.name) == ("app", 41, "app) (x")
    assert facts.pss_bytes == 1000 * 1024
    assert facts.private_dirty_bytes == 300 * 1024
    assert facts.high_water_bytes == 4096 * 1024
    assert facts.cpu_s == 2.0


def test_the_script_runs_where_no_process_is_of_the_pod() -> None:
    done = subprocess.run(
        ["sh", "-c", processes.script({"0" * 64: "app"})],
        capture_output=True,
        check=True,
        text=True,
    )

    assert processes.facts(done.stdout, {"0" * 64: "app"}) == []
