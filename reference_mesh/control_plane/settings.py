"""
What the mesh was installed with, as the control plane needs it.

Read from the values that `refmesh install` put into the ConfigMap `linkerd-config`, which every
component has mounted; flags say only where things are.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from reference_mesh.control_plane import durations, ports
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names
from reference_mesh.manifests.values import Values

__all__ = ["VALUES", "Network", "Settings", "from_values", "load"]

VALUES = Path("/var/run/linkerd/config/values")
"""Where the ConfigMap `linkerd-config` is mounted."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Choices of the installation."""

    namespace: str = names.DEFAULT_NAMESPACE
    """Namespace of the control plane. A pod labelled with another one is not ours."""

    cluster_domain: str = "cluster.local"
    trust_domain: str = "cluster.local"
    cluster_networks: tuple[Network, ...] = ()
    probe_networks: tuple[Network, ...] = ()
    """Where probes come from; their paths are open to these networks only."""

    opaque_ports: ports.PortSet = ports.NONE
    """Ports that are opaque when neither pod, service nor namespace says otherwise."""

    default_inbound_policy: str = "all-unauthenticated"
    transport_header: bool = True
    """Meshed traffic goes to the proxy's port behind a transport header, not to the pod's port."""

    h2_upgrade: bool = True
    inbound_port: int = 4143
    lifetime_s: float = 86_400.0
    clock_skew_s: float = 20.0


def load(path: Path = VALUES, *, namespace: str = names.DEFAULT_NAMESPACE) -> Settings:
    """
    Read the mounted values.

    Raises:
        InvalidInput: the file is missing, is not YAML, or holds a value that is not allowed.

    """
    try:
        values = msgspec.yaml.decode(path.read_bytes(), type=Values)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is missing; is ConfigMap linkerd-config mounted?") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"{path}: {error}; render it with `refmesh install`") from error
    return from_values(values, namespace=namespace)


def from_values(values: Values, *, namespace: str = names.DEFAULT_NAMESPACE) -> Settings:
    """Settings of an installation with these values."""
    return Settings(
        namespace=namespace,
        cluster_domain=values.cluster_domain,
        trust_domain=values.trust_domain,
        cluster_networks=_networks("clusterNetworks", values.cluster_networks.split(",")),
        probe_networks=_networks(
            "policyController.probeNetworks", values.policy_controller.probe_networks
        ),
        opaque_ports=ports.parse(values.proxy.opaque_ports),
        default_inbound_policy=values.proxy.default_inbound_policy,
        transport_header=values.proxy.outbound_transport_mode == "transport-header",
        inbound_port=values.proxy.ports.inbound,
        lifetime_s=durations.seconds(values.identity.issuer.issuance_lifetime),
        clock_skew_s=durations.seconds(values.identity.issuer.clock_skew_allowance),
    )


def _networks(name: str, texts: tuple[str, ...] | list[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in texts if text.strip())
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from error
