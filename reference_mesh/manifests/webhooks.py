"""Which objects the API server shows to the injector and to the validator."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import names
from reference_mesh.manifests.workload import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_mesh.manifests.certificates import Credentials
    from reference_mesh.manifests.values import Values

__all__ = ["INJECTOR_CONFIG", "POLICY_CONFIG", "PROFILE_CONFIG", "documents"]

INJECTOR_CONFIG = "linkerd-proxy-injector-webhook-config"
POLICY_CONFIG = "linkerd-policy-validator-webhook-config"
PROFILE_CONFIG = "linkerd-sp-validator-webhook-config"

_POLICY_KINDS = (
    "authorizationpolicies",
    "httplocalratelimitpolicies",
    "meshtlsauthentications",
    "networkauthentications",
    "serverauthorizations",
    "servers",
)


def documents(values: Values, namespace: str, credentials: Credentials) -> list[dict[str, Any]]:
    """The three configurations. They come last: their services must exist before they are asked."""
    policy = values.webhook_failure_policy
    injector, validator = (
        credentials.injector.trusted_pem,
        credentials.validator.trusted_pem,
    )
    wanted = [_rule(("CREATE",), "", ("v1",), ("pods", "services"))]
    profiles = [
        _rule(("CREATE", "UPDATE"), "linkerd.io", ("v1alpha1", "v1alpha2"), ("serviceprofiles",))
    ]
    policies = [_rule(("CREATE", "UPDATE"), "policy.linkerd.io", ("*",), _POLICY_KINDS)]
    hook = _Hooks(namespace, policy)
    return [
        _configuration(
            "MutatingWebhookConfiguration",
            INJECTOR_CONFIG,
            namespace,
            "proxy-injector",
            {
                **hook.document("linkerd-proxy-injector", wanted, injector),
                "objectSelector": {"matchExpressions": [_absent(names.COMPONENT)]},
                "timeoutSeconds": 10,
            },
        ),
        _configuration(
            "ValidatingWebhookConfiguration",
            PROFILE_CONFIG,
            namespace,
            "destination",
            hook.document("linkerd-sp-validator", profiles, validator),
        ),
        _configuration(
            "ValidatingWebhookConfiguration",
            POLICY_CONFIG,
            namespace,
            "destination",
            hook.document("linkerd-policy-validator", policies, validator),
        ),
    ]


class _Hooks:
    """
    Webhooks that leave alone what they depend on: the API server's own pods and the control plane.

    By name and not only by label: with failure policy Fail, one label removed by mistake would
    keep the control plane from ever coming back.
    """

    def __init__(self, namespace: str, failure_policy: str) -> None:
        self._namespace = namespace
        self._failure_policy = failure_policy

    def document(
        self, service: str, rules: list[dict[str, Any]], trusted_pem: str
    ) -> dict[str, Any]:
        reference = {"name": service, "namespace": self._namespace, "path": "/"}
        return {
            "name": f"{service}.linkerd.io",
            "clientConfig": {
                "service": reference,
                "caBundle": base64.b64encode(trusted_pem.encode()).decode(),
            },
            "rules": rules,
            "namespaceSelector": {
                "matchExpressions": [
                    {
                        "key": names.ADMISSION_WEBHOOKS,
                        "operator": "NotIn",
                        "values": ["disabled"],
                    },
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "NotIn",
                        "values": ["kube-system", "cert-manager", self._namespace],
                    },
                ]
            },
            "failurePolicy": self._failure_policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
        }


def _configuration(
    kind: str, name: str, namespace: str, component: str, webhook: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(name, namespace, component, cluster_wide=True),
        "webhooks": [webhook],
    }


def _rule(
    operations: Sequence[str], group: str, versions: Sequence[str], resources: Sequence[str]
) -> dict[str, Any]:
    return {
        "operations": list(operations),
        "apiGroups": [group],
        "apiVersions": list(versions),
        "resources": list(resources),
        "scope": "Namespaced",
    }


def _absent(label: str) -> dict[str, str]:
    return {"key": label, "operator": "DoesNotExist"}
