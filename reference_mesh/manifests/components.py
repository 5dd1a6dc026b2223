"""The three components of the control plane: services, deployments and what they mount."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import availability, names
from reference_mesh.manifests.workload import Component, deployment, metadata, service

if TYPE_CHECKING:
    from reference_mesh.manifests.values import Values

__all__ = [
    "INJECTOR_SECRET",
    "ISSUER_SECRET",
    "VALIDATOR_SECRET",
    "budgets",
    "deployments",
    "services",
]

ISSUER_SECRET = "linkerd-identity-issuer"  # noqa: S105 - a name
INJECTOR_SECRET = "linkerd-proxy-injector-k8s-tls"  # noqa: S105 - a name
VALIDATOR_SECRET = "linkerd-policy-validator-k8s-tls"  # noqa: S105 - a name

_VALUES = (
    {"secret": {"secretName": names.OVERRIDES, "items": [{"key": "values", "path": "values"}]}},
    "/var/run/linkerd/config",
)
_TRUST_ROOTS = (
    {"configMap": {"name": names.TRUST_ROOTS}},
    "/var/run/linkerd/identity/trust-roots",
)


def services(namespace: str) -> list[dict[str, Any]]:
    """Every Service, identity's first."""
    grpc_identity = {"grpc": (names.IDENTITY_PORT, names.IDENTITY_PORT)}
    grpc_destination = {"grpc": (names.DESTINATION_PORT, names.DESTINATION_PORT)}
    grpc_policy = {"grpc": (names.POLICY_PORT, names.POLICY_PORT)}
    webhook = {"https": (443, names.WEBHOOK_PORT)}
    return [
        service("linkerd-identity", namespace, "identity", grpc_identity, headless=False),
        service("linkerd-identity-headless", namespace, "identity", grpc_identity, headless=True),
        service("linkerd-dst", namespace, "destination", grpc_destination, headless=False),
        service("linkerd-dst-headless", namespace, "destination", grpc_destination, headless=True),
        service("linkerd-policy", namespace, "destination", grpc_policy, headless=True),
        service("linkerd-sp-validator", namespace, "destination", webhook, headless=False),
        service("linkerd-policy-validator", namespace, "destination", webhook, headless=False),
        service("linkerd-proxy-injector", namespace, "proxy-injector", webhook, headless=False),
    ]


def deployments(values: Values, namespace: str, anchors_sha256: str) -> list[dict[str, Any]]:
    """Every Deployment; identity first, because the others' sidecars wait for it."""
    return [deployment(values, namespace, component, anchors_sha256) for component in _all(values)]


def budgets(values: Values, namespace: str) -> list[dict[str, Any]]:
    """A PodDisruptionBudget for each Deployment, if they are wanted."""
    if not values.enable_pod_disruption_budget:
        return []
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(component.name, namespace, component.component),
            "spec": availability.budget_spec(component.component),
        }
        for component in _all(values)
    ]


def _all(values: Values) -> tuple[Component, ...]:
    return _identity(values), _destination(values), _proxy_injector(values)


def _identity(values: Values) -> Component:
    return Component(
        name="linkerd-identity",
        component="identity",
        ports={"ident-grpc": names.IDENTITY_PORT, "ident-admin": names.IDENTITY_ADMIN_PORT},
        admin_port=names.IDENTITY_ADMIN_PORT,
        local={"identity": f"127.0.0.1:{names.IDENTITY_PORT}"},
        volumes={"config": _VALUES},
        env=values.identity.additional_env,
    )


def _destination(values: Values) -> Component:
    return Component(
        name="linkerd-destination",
        component="destination",
        ports={
            "dest-grpc": names.DESTINATION_PORT,
            "policy-grpc": names.POLICY_PORT,
            "validator": names.WEBHOOK_PORT,
            "dest-admin": names.DESTINATION_ADMIN_PORT,
        },
        admin_port=names.DESTINATION_ADMIN_PORT,
        local={
            "destination": f"127.0.0.1:{names.DESTINATION_PORT}",
            "policy": f"127.0.0.1:{names.POLICY_PORT}",
        },
        volumes={"config": _VALUES, "tls": _tls(VALIDATOR_SECRET)},
        env=values.destination_controller.additional_env,
        opaque_ports=str(names.WEBHOOK_PORT),
    )


def _proxy_injector(values: Values) -> Component:
    return Component(
        name="linkerd-proxy-injector",
        component="proxy-injector",
        ports={"injector": names.WEBHOOK_PORT, "injector-admin": names.INJECTOR_ADMIN_PORT},
        admin_port=names.INJECTOR_ADMIN_PORT,
        local={},
        volumes={"config": _VALUES, "trust-roots": _TRUST_ROOTS, "tls": _tls(INJECTOR_SECRET)},
        env=values.proxy_injector.additional_env,
        opaque_ports=str(names.WEBHOOK_PORT),
    )


def _tls(secret: str) -> tuple[dict[str, Any], str]:
    return {"secret": {"secretName": secret}}, "/var/run/linkerd/tls"
