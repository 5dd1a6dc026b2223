"""Annotations that the control plane reads itself, and what a wrong one means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_mesh.control_plane import ports
from reference_mesh.control_plane.logfmt import Log
from reference_mesh.errors import InvalidInput
from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_INBOUND_POLICY",
    "REQUIRE_IDENTITY_PORTS",
    "SKIP_INBOUND_PORTS",
    "default_policy",
    "port_set",
]

_log = Log("annotations")

DEFAULT_INBOUND_POLICY = names.CONFIG + "default-inbound-policy"
REQUIRE_IDENTITY_PORTS = names.CONFIG + "proxy-require-identity-inbound-ports"
SKIP_INBOUND_PORTS = names.CONFIG + "skip-inbound-ports"


def port_set(annotations: Mapping[str, str], name: str, *, where: str) -> ports.PortSet | None:
    """
    Ports that an annotation lists; None when it is absent.

    A list that cannot be read counts as empty, as with Linkerd, and is named in the log.
    """
    text = annotations.get(name)
    if text is None:
        return None
    try:
        return ports.parse(text)
    except InvalidInput as error:
        _log.warning("annotation ignored", object=where, annotation=name, error=error)
        return ports.PortSet()


def default_policy(annotations: Mapping[str, str], *, where: str) -> str | None:
    """The default inbound policy that an annotation names; None when absent or unknown."""
    policy = annotations.get(DEFAULT_INBOUND_POLICY)
    if policy is None or policy in names.DEFAULT_POLICIES:
        return policy
    known = ",".join(names.DEFAULT_POLICIES)
    _log.warning("annotation ignored", object=where, value=policy, known=known)
    return None
