"""One thing wrong on an API that has the mesh: what `causes` is made of."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from reference_mesh.manifests import certificates, names

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = dt.timedelta(days=1)
ISSUER = "linkerd-identity-issuer"
ROOTS = "linkerd-identity-trust-roots"
INJECTOR = "linkerd-proxy-injector-k8s-tls"
VALIDATOR = "linkerd-policy-validator-k8s-tls"
HOOKS = {
    "proxy-injector": ("MutatingWebhookConfiguration", "linkerd-proxy-injector-webhook-config"),
    "sp-validator": ("ValidatingWebhookConfiguration", "linkerd-sp-validator-webhook-config"),
    "policy-validator": (
        "ValidatingWebhookConfiguration",
        "linkerd-policy-validator-webhook-config",
    ),
}


class Signed:
    """A certificate and its key, with its times in days from now; with a signer, under that."""

    def __init__(self, begins: float, ends: float, *, signer: Any = None, key: Any = None) -> None:
        now = dt.datetime.now(dt.UTC)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made for a test")])
        by = signer or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(
                by.key, None if isinstance(by.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
            )
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, *form).decode()


def put(api: Any, secret: str, **data: str) -> None:
    """Replace parts of a Secret; underscores stand for dots."""
    kept = api.of("Secret", secret)["data"]
    for key, text in data.items():
        kept[key.replace("_", ".")] = base64.b64encode(text.encode()).decode()


def anchors(api: Any, root: Signed) -> None:
    api.of("ConfigMap", ROOTS)["data"]["ca-bundle.crt"] = root.pem


def issuer(api: Any, begins: int = -1, ends: int = 300, key: Any = None) -> None:
    """An issuer of this validity under a good root."""
    root = Signed(-1, 300)
    made = Signed(begins, ends, signer=root, key=key)
    anchors(api, root)
    put(api, ISSUER, crt_pem=made.pem, key_pem=made.key_pem)


def serve(api: Any, secret: str, started: int, *, host: str = "") -> None:
    """A webhook's certificate that began so many days ago and lasts for a year, trusted by all."""
    service = "proxy-injector" if secret == INJECTOR else "sp-validator"
    hosts = [host or f"linkerd-{service}.linkerd.svc", "linkerd-policy-validator.linkerd.svc"]
    pair = certificates.make_webhook(hosts, now=dt.datetime.now(dt.UTC) - started * DAY)
    made = {"tls_crt": pair.certificate_pem, "tls_key": pair.key_pem}
    put(api, secret, ca_crt=pair.certificate_pem, **made)
    for hook in HOOKS:
        trust(api, hook, pair.certificate_pem)


def trust(api: Any, hook: str, pem: str) -> None:
    client_of(api, hook)["caBundle"] = base64.b64encode(pem.encode()).decode()


def client_of(api: Any, hook: str) -> dict[str, Any]:
    """How the API server reaches a webhook."""
    return api.of(*HOOKS[hook])["webhooks"][0]["clientConfig"]


# Other things to break.


def pod_of(api: Any, component: str) -> dict[str, Any]:
    return api.of("Pod", f"linkerd-{component}-0")


def waits(pod: dict[str, Any], container: str, reason: str) -> None:
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pod["status"]["containerStatuses"] = [
        {"name": container, "ready": False, "state": {"waiting": {"reason": reason}}}
    ]


def no_pods(api: Any) -> None:
    for component in ("identity", "destination", "proxy-injector"):
        api.remove("Pod", f"linkerd-{component}-0")


def unschedulable(api: Any) -> None:
    message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    pod_of(api, "identity")["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": message}
    ]


def namespaced(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", **fields.pop("metadata", {})},
        **fields,
    }


def service(**metadata: Any) -> dict[str, Any]:
    spec = {"clusterIP": "10.96.9.9", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    return namespaced("Service", "web", metadata=metadata, spec=spec)


def node(api: Any) -> None:
    metadata, spec = {"name": "node-a"}, {"podCIDR": "8.8.8.0/24"}
    api.add({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})


def uncovered_service(api: Any) -> None:
    """A service, and networks that were set without a thought of services."""
    networks(api, "10.244.0.0/16, 10.244.0.0/24")
    api.add(service())


def networks(api: Any, text: str) -> None:
    data = api.of("Secret", names.OVERRIDES)["data"]
    kept = yaml.safe_load(base64.b64decode(data[names.OVERRIDES]))
    document = yaml.safe_dump({**kept, "clusterNetworks": text})
    data[names.OVERRIDES] = base64.b64encode(document.encode()).decode()


def foreign_pod(api: Any) -> None:
    api.add_meshed()["status"]["podIP"] = "8.8.8.8"


def no_endpoints(api: Any) -> None:
    api.of("EndpointSlice", "linkerd-dst")["endpoints"][0]["conditions"]["ready"] = False


def opaque(api: Any) -> None:
    api.add_meshed()
    api.add(service(annotations={names.OPAQUE_PORTS: "80"}))


def misspelt(api: Any) -> None:
    """What the injector refuses of a new service, and nobody of one that is changed."""
    api.add_meshed()
    api.add(service())["metadata"]["annotations"] = {names.OPAQUE_PORTS: "web"}


def meshed_label(api: Any) -> None:
    api.add_meshed()["metadata"]["labels"][names.INJECT] = "enabled"


def other_version(spec: dict[str, Any]) -> None:
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        if container["name"] in {"linkerd-proxy", "destination"}:
            container["image"] = "meshmark.dev/x:0.0.9"


def certified(api: Any, issued_h: float, ends_h: float) -> None:
    """A meshed pod whose certificate was issued and ends so many hours from now."""
    api.add_meshed()
    now_s = dt.datetime.now(dt.UTC).timestamp()
    page = "/api/v1/namespaces/shop/pods/web-0:4191/proxy/metrics"
    api.pages[page] = (
        200,
        "".join(
            f"control_identity_cert_{name}_timestamp_seconds {now_s + hours * 3600}\n"
            for name, hours in (("refresh", issued_h), ("expiration", ends_h))
        ),
    )


def untold(api: Any) -> None:
    """A meshed pod whose proxy's metrics say nothing of certificates."""
    api.add_meshed()
    api.pages["/api/v1/namespaces/shop/pods/web-0:4191/proxy/metrics"] = 200, "process_cpu 1\n"


def silent(api: Any) -> None:
    api.add_meshed()
    api.pages["/api/v1/namespaces/shop/pods/web-0:4191/proxy/metrics"] = 502, "{}"


def more_anchors(api: Any) -> None:
    """A pod in the mesh, and anchors that it was not started with."""
    api.add_meshed()
    api.of("ConfigMap", ROOTS)["data"]["ca-bundle.crt"] += Signed(-1, 300).pem


def asks_about_itself(api: Any) -> None:
    webhook = api.of(*HOOKS["proxy-injector"])["webhooks"][0]
    webhook["namespaceSelector"]["matchExpressions"].pop()


def no_kubeconfig(api: Any) -> None:
    api.kubeconfig += "-that-is-not-there"


def server_gone(api: Any) -> None:
    """A kubeconfig of before the server went."""
    config = yaml.safe_load(Path(api.kubeconfig).read_text())
    for one in config["clusters"]:
        one["cluster"]["server"] = "https://127.0.0.1:1"
    Path(api.kubeconfig).write_text(yaml.safe_dump(config))


def gone(kind: str, name: str) -> Callable[[Any], None]:
    return lambda api: api.remove(kind, name)


def denied(verb: str, resource: str) -> Callable[[Any], None]:
    return lambda api: api.denied.add((verb, resource))


def refused(plural: str, message: str) -> Callable[[Any], None]:
    return lambda api: api.refused.update({plural: message})
