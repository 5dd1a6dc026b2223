"""The images that a node brings along, under the names by which kubeadm asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.images import cache
from harness.cluster.kind.node_image import compiled
from harness.cluster.kind.node_image.versions import COREDNS, ETCD, KUBERNETES, NETWORK, PAUSE
from harness.cluster.model import Bind, Image

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["images"]

_REGISTRY = "registry.k8s.io"
_IPTABLES = [
    f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")
]


def images() -> list[Image]:
    """All of them; what they hold is compiled now, if it was not before."""
    kubernetes = compiled.kubernetes()
    return [
        *(_kubernetes(f"kube-{name}", kubernetes) for name in _CONTROL_PLANE),
        _kubernetes("kube-proxy", kubernetes, packages=("iptables", "kmod", "nftables")),
        _alone(f"etcd:{ETCD}", compiled.etcd() / "server", "/usr/local/bin/etcd"),
        _alone(f"coredns/coredns:{COREDNS}", compiled.coredns() / "coredns", "/coredns"),
        _alone(f"pause:{PAUSE}", compiled.pause() / "pause", "/pause", user=65535),
        Image(
            NETWORK,
            [Bind(kubernetes / "network", "/usr/local/bin/network")],
            ["/usr/local/bin/network"],
            packages=("nftables",),
        ),
    ]


_CONTROL_PLANE = ("apiserver", "controller-manager", "scheduler")


def _alone(name: str, program: Path, target: str, *, user: int | None = None) -> Image:
    return Image(f"{_REGISTRY}/{name}", [Bind(program, target)], [target], user=user)


def _kubernetes(name: str, programs: Path, *, packages: tuple[str, ...] = ()) -> Image:
    target = f"/usr/local/bin/{name}"
    binds = [Bind(programs / name, target)]
    if packages:
        binds.append(
            Bind(cache.kept("iptables-names", _IPTABLES, _link_iptables), "/usr/local/sbin")
        )
    return Image(f"{_REGISTRY}/{name}:{KUBERNETES}", binds, [target], packages=packages)


def _link_iptables(target: Path) -> None:
    """Debian chooses between the kinds of iptables when it is installed; here nothing is."""
    for name in _IPTABLES:
        (target / name).symlink_to("/usr/sbin/xtables-nft-multi")
