"""What kind is told."""

from __future__ import annotations

import yaml

from harness.cluster.kind.config import cluster_config


def test_nodes_port_and_what_the_host_needs_are_in_it() -> None:
    host = {"featureGates": {"KubeletInUserNamespace": True}, "kubeadmConfigPatches": ["x: 1"]}
    config = yaml.safe_load(cluster_config(image="node:1", workers=2, port=6444, host=host))

    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert {node["image"] for node in config["nodes"]} == {"node:1"}
    assert config["networking"]["apiServerPort"] == 6444
    assert config["networking"]["apiServerAddress"] == "127.0.0.1"
    assert config["featureGates"] == {"KubeletInUserNamespace": True}
    assert config["kubeadmConfigPatches"][1:] == ["x: 1"]
