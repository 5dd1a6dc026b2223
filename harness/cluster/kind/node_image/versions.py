"""Which versions of what a node is made of, and what that is called."""

from __future__ import annotations

__all__ = ["BUILT", "COREDNS", "ETCD", "KUBERNETES", "NETWORK", "PACKAGES", "PAUSE", "PINNED"]

KUBERNETES = "v1.34.4"
"""Of 1.34, since later kubelets refuse hosts with cgroup v1."""

BUILT = f"meshmark.dev/node:{KUBERNETES}"
"""What `meshmark node-image build` makes."""

PINNED = (
    "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
)
"""Of the same minor version; from the release notes of kind v0.33.0."""

ETCD = "3.6.5-0"
COREDNS = "v1.12.1"
PAUSE = "3.10.1"
"""What kubeadm of that version asks for: `kubeadm config images list`."""

NETWORK = "meshmark.dev/node-network:v1"
"""Named by `files/kind/manifests/default-cni.yaml`."""

PACKAGES = (
    "ca-certificates", "conntrack", "containerd", "containernetworking-plugins", "dbus", "ethtool",
    "iproute2", "iptables", "jq", "kmod", "nftables", "procps", "runc", "socat", "systemd",
    "systemd-sysv",
)  # fmt: skip
"""Debian packages of the node: init, container runtime, and what the kubelet and kubeadm call."""
