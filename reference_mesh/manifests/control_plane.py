"""
The whole control plane as a list of resources, in the order to apply them.

Pure: the same values and credentials give the same resources, so `upgrade` can be compared with
what is installed and `prune` knows what is left over.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from reference_mesh.manifests import (
    access,
    components,
    documents,
    names,
    overrides,
    webhooks,
)
from reference_mesh.manifests.workload import labels, metadata

if TYPE_CHECKING:
    from reference_mesh.manifests.certificates import Credentials, KeyPair
    from reference_mesh.manifests.values import Values

__all__ = ["render"]


def render(
    values: Values,
    credentials: Credentials,
    *,
    namespace: str = names.DEFAULT_NAMESPACE,
    global_config: str = "{}",
) -> list[dict[str, Any]]:
    """
    Every resource of the control plane except the definitions of its kinds.

    global_config: what users put under `global` of ConfigMap linkerd-config, such as the address
        of a Prometheus of their own; `upgrade` hands it through.
    """
    anchors_sha256 = hashlib.sha256(credentials.trust_anchors_pem.encode()).hexdigest()
    return [
        _namespace(namespace),
        *access.documents(namespace),
        *_config(values, credentials, namespace, global_config),
        *_secrets(values, credentials, namespace),
        *components.services(namespace),
        *components.budgets(values, namespace),
        *components.deployments(values, namespace, anchors_sha256),
        *webhooks.documents(values, namespace, credentials),
    ]


def _namespace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "annotations": {names.INJECT: "disabled"},
            "labels": {
                names.IS_CONTROL_PLANE: "true",
                names.ADMISSION_WEBHOOKS: "disabled",
                **labels(name),
                "pod-security.kubernetes.io/enforce": "privileged",
            },
        },
    }


def _config(
    values: Values, credentials: Credentials, namespace: str, global_config: str
) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("linkerd-config", namespace, "controller"),
            "data": {
                "values": documents.dump(values.as_document()),
                "global": global_config,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(names.TRUST_ROOTS, namespace, "identity"),
            "data": {"ca-bundle.crt": credentials.trust_anchors_pem},
        },
    ]


def _secrets(values: Values, credentials: Credentials, namespace: str) -> list[dict[str, Any]]:
    """
    Secrets of the installation.

    The components mount their values from here and not from ConfigMap linkerd-config, which users
    replace when they set `global`.
    """
    kept = {
        names.OVERRIDES: documents.dump(overrides.difference(values)),
        "values": documents.dump(values.as_document()),
    }
    result = [_secret(names.OVERRIDES, namespace, "controller", "Opaque", kept)]
    if credentials.issuer is not None:
        result.append(_issuer(values.identity.issuer.scheme, credentials, namespace))
    for name, component, serving in (
        (components.VALIDATOR_SECRET, "destination", credentials.validator),
        (components.INJECTOR_SECRET, "proxy-injector", credentials.injector),
    ):
        data = {"ca.crt": serving.trusted_pem} | _tls(serving.pair)
        result.append(_secret(name, namespace, component, "kubernetes.io/tls", data))
    return result


def _issuer(scheme: str, credentials: Credentials, namespace: str) -> dict[str, Any]:
    pair = credentials.issuer
    assert pair is not None
    if scheme == "kubernetes.io/tls":
        data = {"ca.crt": credentials.trust_anchors_pem} | _tls(pair)
        return _secret(components.ISSUER_SECRET, namespace, "identity", scheme, data)
    data = {"crt.pem": pair.certificate_pem, "key.pem": pair.key_pem}
    return _secret(components.ISSUER_SECRET, namespace, "identity", "Opaque", data)


def _tls(pair: KeyPair) -> dict[str, str]:
    return {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem}


def _secret(
    name: str, namespace: str, component: str, kind: str, data: dict[str, str]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, namespace, component),
        "type": kind,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }
