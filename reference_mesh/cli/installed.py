"""What is installed on a cluster: values, credentials and what users keep beside them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.cli.kubernetes import path
from reference_mesh.errors import ClusterError, InvalidInput, RefmeshError
from reference_mesh.manifests import acceptance, components, names, overrides, serving
from reference_mesh.manifests.certificates import Credentials, KeyPair
from reference_mesh.manifests.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference_mesh.cli.kubernetes import Kubernetes

__all__ = ["Installation", "data_of", "installation", "meshed_pods", "trust_anchors"]


@dataclass(frozen=True, slots=True)
class Installation:
    """
    One control plane as it is now. issuer None: something else keeps the issuer's Secret.

    renewed: Secrets of webhooks whose certificate on the cluster is gone, damaged or near its end.
        The credentials hold a new one instead.
    """

    overrides: dict[str, Any]
    credentials: Credentials
    global_config: str
    renewed: tuple[str, ...]


def installation(
    kubernetes: Kubernetes,
    namespace: str,
    *,
    anchors_pem: str | None = None,
    issuer: KeyPair | None = None,
) -> Installation:
    """
    Read back what an installation was made with.

    anchors_pem, issuer: to be taken instead of what is installed, which may be gone.

    Raises:
        ClusterError: there is none, or a part of it is missing.
        InvalidInput: a part of it is damaged, or this version does not know it; names it.

    """
    stored = kubernetes.find(path("v1", "secrets", namespace, names.OVERRIDES))
    config = kubernetes.find(path("v1", "configmaps", namespace, "linkerd-config"))
    if stored is None or config is None:
        raise ClusterError(
            f"no control plane found in namespace {namespace}; "
            "to install one run: refmesh install | kubectl apply -f -"
        )
    kept = overrides.load(data_of(stored).get(names.OVERRIDES, ""), f"Secret {names.OVERRIDES}")
    _check_known(kept, namespace)
    external = kept.get("identity", {}).get("issuer", {}).get("scheme") == "kubernetes.io/tls"
    if anchors_pem is None:
        anchors_pem = trust_anchors(kubernetes, namespace)
    if issuer is None and not external:
        issuer = _issuer(kubernetes, namespace)
    hosts = {
        components.INJECTOR_SECRET: serving.injector_hosts(namespace),
        components.VALIDATOR_SECRET: serving.validator_hosts(namespace),
    }
    before = {name: _serving(kubernetes, namespace, name) for name in hosts}
    now = {name: serving.renewed_in_time(before[name], hosts[name]) for name in hosts}
    credentials = Credentials(
        trust_anchors_pem=anchors_pem,
        issuer=issuer,
        injector=now[components.INJECTOR_SECRET],
        validator=now[components.VALIDATOR_SECRET],
    )
    return Installation(
        overrides=kept,
        credentials=credentials,
        global_config=(config.get("data") or {}).get("global", "{}"),
        renewed=tuple(
            name for name, kept in before.items() if kept is None or kept.pair != now[name].pair
        ),
    )


def trust_anchors(kubernetes: Kubernetes, namespace: str) -> str:
    """
    The bundle that every proxy trusts.

    Raises:
        ClusterError: it is missing.

    """
    address = path("v1", "configmaps", namespace, names.TRUST_ROOTS)
    found = (kubernetes.get(address).get("data") or {}).get("ca-bundle.crt")
    if not found:
        raise ClusterError(f"ConfigMap {namespace}/{names.TRUST_ROOTS} has no ca-bundle.crt")
    return str(found)


def data_of(secret: Mapping[str, Any]) -> dict[str, str]:
    """
    Texts of a Secret.

    Raises:
        InvalidInput: something in it is not text.

    """
    result = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            result[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            name = secret.get("metadata", {}).get("name")
            raise InvalidInput(f"Secret {name}: {key} is not text: {error}") from error
    return result


def meshed_pods(
    kubernetes: Kubernetes, namespace: str | None = None, *, control_plane_ns: str
) -> list[dict[str, Any]]:
    """Pods with a sidecar of this control plane, in one namespace or in all."""
    selector = f"{names.CONTROL_PLANE_NS}={control_plane_ns}"
    return kubernetes.items(path("v1", "pods", namespace), labelSelector=selector)


def _check_known(kept: Mapping[str, Any], namespace: str) -> None:
    """Refuse choices that this version cannot keep: it would undo them without a word."""
    try:
        overrides.combine(kept)
    except RefmeshError as error:
        raise InvalidInput(
            f"Secret {namespace}/{names.OVERRIDES}, which keeps what was chosen at installation: "
            f"{error}. A refmesh of another version wrote it, and this one is {names.VERSION}: "
            "use that version or a newer one, or take the value out of the Secret"
        ) from error


def _issuer(kubernetes: Kubernetes, namespace: str) -> KeyPair:
    secret = kubernetes.get(path("v1", "secrets", namespace, components.ISSUER_SECRET))
    data = data_of(secret)
    return _pair(data, "crt.pem", "key.pem", components.ISSUER_SECRET)


def _serving(kubernetes: Kubernetes, namespace: str, name: str) -> Serving | None:
    """A webhook's certificate, or None when there is no usable one."""
    secret = kubernetes.find(path("v1", "secrets", namespace, name))
    if secret is None:
        return None
    try:
        data = data_of(secret)
        pair = _pair(data, "tls.crt", "tls.key", name)
        acceptance.check_key(pair, f"Secret {name}")
    except InvalidInput:
        return None
    return Serving(pair, data.get("ca.crt", pair.certificate_pem))


def _pair(data: Mapping[str, str], certificate: str, key: str, name: str) -> KeyPair:
    if certificate not in data or key not in data:
        raise InvalidInput(f"Secret {name}: expected {certificate} and {key}")
    return KeyPair(data[certificate], data[key])
