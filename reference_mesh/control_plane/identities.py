"""Names of workloads: `<account>.<namespace>.serviceaccount.identity.<mesh>.<trust domain>`."""

from __future__ import annotations

__all__ = ["account_identity", "namespace_suffix"]

_INFIX = "serviceaccount.identity"


def account_identity(account: str, namespace: str, *, mesh: str, trust_domain: str) -> str:
    """
    Identity of a service account.

    mesh: namespace of the control plane that issues it.
    """
    return f"{account}.{namespace_suffix(namespace, mesh=mesh, trust_domain=trust_domain)}"


def namespace_suffix(namespace: str, *, mesh: str, trust_domain: str) -> str:
    """What the identities of all service accounts of a namespace end with."""
    return f"{namespace}.{_INFIX}.{mesh}.{trust_domain}"
