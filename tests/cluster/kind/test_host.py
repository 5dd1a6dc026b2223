"""What a machine is like, and what kind and Docker must be told of it."""

from __future__ import annotations

import pytest

from harness.cluster.kind.docker import Daemon
from harness.cluster.kind.host import (
    RUNTIME,
    Host,
    examine,
    kind_config,
    lacks_sys_resource,
    refuse,
)
from harness.errors import EnvironmentLacks

ORDINARY = Host(cgroups=2, sys_resource=True, runtime="runc")


@pytest.mark.parametrize(
    ("bounding", "lacks"), [("000001ffffffffff", False), ("000001fffeffffff", True)]
)
def test_the_bounding_set_tells_whether_the_capability_can_be_had(
    bounding: str, lacks: bool
) -> None:
    status = f"Name:\tcat\nCapEff:\t0000000000000000\nCapBnd:\t{bounding}\n"
    assert lacks_sys_resource(status) is lacks


def test_an_ordinary_machine_is_used_as_it_is() -> None:
    refuse(ORDINARY, kubernetes=(1, 37))
    assert kind_config(ORDINARY) == {}


def test_docker_tells_of_the_control_groups_and_its_runtime() -> None:
    found = examine(Daemon(cgroup_version="1", default_runtime=RUNTIME))
    assert (found.cgroups, found.runtime) == (1, RUNTIME)


def test_cgroup_v1_is_allowed_to_the_kubelet() -> None:
    config = kind_config(Host(cgroups=1, sys_resource=True, runtime="runc"))
    assert config == {"kubeadmConfigPatches": ["kind: KubeletConfiguration\nfailCgroupV1: false\n"]}


def test_a_missing_capability_is_allowed_for_in_kubelet_and_containerd() -> None:
    config = kind_config(Host(cgroups=2, sys_resource=False, runtime=RUNTIME))
    assert config["featureGates"] == {"KubeletInUserNamespace": True}
    assert "restrict_oom_score_adj = true" in config["containerdConfigPatches"][0]


def test_kubernetes_that_needs_cgroup_v2_is_refused_on_v1() -> None:
    host = Host(cgroups=1, sys_resource=True, runtime="runc")
    refuse(host, kubernetes=(1, 34))
    with pytest.raises(EnvironmentLacks, match=r"has cgroup v1, and Kubernetes 1\.35 needs v2"):
        refuse(host, kubernetes=(1, 35))


@pytest.mark.parametrize(
    ("init", "step"),
    [(False, "End this Docker"), (True, r"/etc/docker/daemon\.json.*systemctl restart docker")],
)
def test_a_docker_that_would_ask_for_the_capability_is_refused(init: bool, step: str) -> None:
    refuse(Host(2, sys_resource=False, runtime=RUNTIME), kubernetes=(1, 34), init=init)
    with pytest.raises(EnvironmentLacks, match=f"lacks CAP_SYS_RESOURCE.*{step}"):
        refuse(Host(2, sys_resource=False, runtime="runc"), kubernetes=(1, 34), init=init)
