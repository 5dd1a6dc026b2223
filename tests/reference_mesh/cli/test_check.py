"""
`refmesh check` against an API on which one thing is wrong.

`CAUSES` is the table of what each check sees. A check that nothing here makes fail does not pass
`test_every_check_has_been_seen_to_fail`, nor one of its messages that nothing here makes it say
`test_every_message_has_been_seen`.
"""

from __future__ import annotations

import ast
import base64
import datetime as dt
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from reference_mesh.cli import checks
from reference_mesh.cli.checks.model import Facts
from reference_mesh.cli.kubernetes import connected
from reference_mesh.cli.options import Where
from reference_mesh.errors import RefmeshError
from reference_mesh.manifests import certificates, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from reference_mesh.cli.kubernetes import Kubernetes

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


@dataclass(frozen=True)
class Cause:
    """What makes a check fail, what it then says, and the options of the run that shows it."""

    description: str
    act: Callable[[Any], object]
    said: str
    result: str = "error"
    options: tuple[str, ...] = ()


# Certificates of any validity.


class Signed:
    """A certificate and its key; with a signer, under that."""

    def __init__(self, begins: int, ends: int, *, signer: Any = None, key: Any = None) -> None:
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
    message = "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules"
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


def foreign_service(api: Any) -> None:
    api.add(service())["spec"]["clusterIP"] = "8.8.8.9"


def foreign_pod(api: Any) -> None:
    api.add_meshed()["status"]["podIP"] = "8.8.8.8"


def no_endpoints(api: Any) -> None:
    api.of("EndpointSlice", "linkerd-dst")["endpoints"][0]["conditions"]["ready"] = False


def opaque(api: Any) -> None:
    api.add_meshed()
    api.add(service(annotations={names.OPAQUE_PORTS: "80"}))


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


def silent(api: Any) -> None:
    api.add_meshed()
    api.pages["/api/v1/namespaces/shop/pods/web-0:4191/proxy/metrics"] = 502, "{}"


def old_anchors(api: Any) -> None:
    api.add_meshed()["metadata"]["annotations"][names.TRUST_ROOT_SHA256] = "old"


def asks_about_itself(api: Any) -> None:
    webhook = api.of(*HOOKS["proxy-injector"])["webhooks"][0]
    webhook["namespaceSelector"]["matchExpressions"].pop()


def no_kubeconfig(api: Any) -> None:
    api.kubeconfig += "-that-is-not-there"


def server_gone(api: Any) -> None:
    with open(api.kubeconfig) as file:
        text = file.read()
    with open(api.kubeconfig, "w") as file:
        file.write(text.replace("http://127.0.0.1:", "http://127.0.0.1:1/"))


def gone(kind: str, name: str) -> Callable[[Any], None]:
    return lambda api: api.remove(kind, name)


def denied(verb: str, resource: str) -> Callable[[Any], None]:
    return lambda api: api.denied.add((verb, resource))


def refused(plural: str, message: str) -> Callable[[Any], None]:
    return lambda api: api.refused.update({plural: message})


PRE, PROXY, HA = ("--pre",), ("--proxy",), ("--ha",)
"""Options of the run; with HA the mesh was installed so."""

CAUSES = [
    Cause("can initialize the client", no_kubeconfig, "no usable kubeconfig"),
    Cause("can query the Kubernetes API", server_gone, "no answer from the Kubernetes API"),
    Cause(
        "is running the minimum Kubernetes API version",
        lambda api: setattr(api, "version", "v1.28.9"),
        "Kubernetes is v1.28.9",
    ),
    Cause(
        "is running the minimum Kubernetes API version",
        lambda api: setattr(api, "version", "unknown"),
        "the version 'unknown' cannot be read",
    ),
    # linkerd-existence
    Cause(
        "control plane Namespace exists",
        gone("Namespace", "linkerd"),
        'the "linkerd" namespace does not exist',
    ),
    Cause(
        "'linkerd-config' config map exists",
        gone("ConfigMap", "linkerd-config"),
        'configmaps "linkerd-config" not found',
    ),
    Cause(
        "control plane replica sets are ready",
        lambda api: api.of("Deployment", "linkerd-identity").update(status={"readyReplicas": 0}),
        "linkerd-identity: 0 of 1 replicas are ready",
    ),
    Cause(
        "control plane replica sets are ready",
        gone("Deployment", "linkerd-proxy-injector"),
        'deployments "linkerd-proxy-injector" not found',
    ),
    Cause("no unschedulable pods", unschedulable, "didn't match pod anti-affinity rules"),
    Cause(
        "control plane pods are ready",
        lambda api: waits(pod_of(api, "destination"), "destination", "CrashLoopBackOff"),
        "container destination waits: CrashLoopBackOff",
    ),
    Cause("control plane pods are ready", no_pods, "no pods of the control plane in namespace"),
    Cause(
        "control plane services have endpoints",
        gone("Service", "linkerd-policy"),
        "service linkerd-policy does not exist",
    ),
    Cause(
        "control plane services have endpoints",
        no_endpoints,
        "service linkerd-dst has no endpoint that is ready",
    ),
    Cause("cluster networks contain all node podCIDRs", node, "node-a (8.8.8.0/24)"),
    Cause("cluster networks contain all pods", foreign_pod, "shop/web-0 (8.8.8.8)"),
    Cause("cluster networks contain all services", foreign_service, "shop/web (8.8.8.9)"),
    # linkerd-config
    *(
        Cause(f"control plane {kind}s exist", gone(kind, name), name)
        for kind, name in (
            ("ClusterRole", "linkerd-linkerd-identity"),
            ("ClusterRoleBinding", "linkerd-linkerd-destination"),
            ("Role", "linkerd-identity"),
            ("RoleBinding", "linkerd-identity"),
            ("ServiceAccount", "linkerd-proxy-injector"),
            ("CustomResourceDefinition", "servers.policy.linkerd.io"),
            HOOKS["proxy-injector"],
            HOOKS["sp-validator"],
        )
    ),
    Cause(
        "control plane service accounts may do what they need",
        denied("watch", "endpointslices"),
        "linkerd-destination may not watch endpointslices",
    ),
    # linkerd-identity
    Cause("certificate config is valid", gone("Secret", ISSUER), f'secrets "{ISSUER}" not found'),
    Cause("certificate config is valid", gone("ConfigMap", ROOTS), ROOTS),
    Cause(
        "certificate config is valid",
        lambda api: put(api, ISSUER, key_pem=Signed(-1, 9).key_pem),
        "belongs to another certificate",
    ),
    Cause(
        "certificate config is valid",
        lambda api: api.of("Secret", ISSUER)["data"].pop("key.pem"),
        f"Secret {ISSUER} has neither crt.pem and key.pem nor tls.crt and tls.key",
    ),
    Cause(
        "trust anchors are using supported crypto algorithm",
        lambda api: anchors(api, Signed(-1, 300, key=ed25519.Ed25519PrivateKey.generate())),
        "has a key of type Ed25519",
    ),
    Cause(
        "trust anchors are within their validity period",
        lambda api: anchors(api, Signed(-9, -1)),
        "trust anchor expired on",
    ),
    Cause(
        "trust anchors are within their validity period",
        lambda api: anchors(api, Signed(1, 300)),
        "trust anchor not valid before",
    ),
    Cause(
        "trust anchors are valid for at least 60 days",
        lambda api: anchors(api, Signed(-1, 59)),
        "trust anchor will expire on",
        "warning",
    ),
    Cause(
        "issuer cert is using supported crypto algorithm",
        lambda api: issuer(api, key=ed25519.Ed25519PrivateKey.generate()),
        "has a key of type Ed25519",
    ),
    Cause(
        "issuer cert is within its validity period",
        lambda api: issuer(api, -9, -1),
        "issuer expired on",
    ),
    Cause(
        "issuer cert is within its validity period",
        lambda api: issuer(api, 1),
        "issuer not valid before",
    ),
    Cause(
        "issuer cert is valid for at least 60 days",
        lambda api: issuer(api, -1, 59),
        "issuer will expire on",
        "warning",
    ),
    Cause(
        "issuer cert is issued by the trust anchor",
        lambda api: anchors(api, Signed(-1, 300)),
        "not signed by any of the trust anchors",
    ),
    # linkerd-webhooks-and-apisvc-tls
    *(
        cause
        for hook, secret in zip(HOOKS, (INJECTOR, VALIDATOR, VALIDATOR), strict=True)
        for cause in (
            Cause(
                f"{hook} webhook has valid cert",
                gone(*HOOKS[hook]),
                f'"{HOOKS[hook][1]}" not found',
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: trust(api, hook, Signed(-1, 300).pem),
                "does not trust the certificate in Secret",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, secret=secret: serve(api, secret, started=366),
                f"the certificate in Secret {secret} expired on",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, secret=secret: put(api, secret, tls_key=Signed(-1, 9).key_pem),
                "belongs to another certificate",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: trust(api, hook, "garbage"),
                "not a PEM bundle",
            ),
            Cause(
                f"{hook} webhook has valid cert",
                lambda api, hook=hook: client_of(api, hook).pop("caBundle"),
                f"{HOOKS[hook][1]}: its caBundle cannot be read",
            ),
            Cause(
                f"{hook} cert is valid for at least 60 days",
                lambda api, secret=secret: serve(api, secret, started=310),
                "will expire on",
                "warning",
            ),
        )
    ),
    Cause(
        "proxy-injector webhook has valid cert",
        lambda api: serve(api, INJECTOR, 1, host="injector.example"),
        "is not for host linkerd-proxy-injector.linkerd.svc",
    ),
    # linkerd-admission
    Cause(
        "proxy-injector webhook injects pods",
        lambda api: api.deaf.add("proxy-injector"),
        "let through without a sidecar",
    ),
    Cause(
        "policy-validator webhook refuses what is wrong",
        lambda api: api.deaf.add("policy-validator"),
        "a NetworkAuthentication that means nothing is let through",
    ),
    Cause(
        "policy-validator webhook refuses what is wrong",
        refused(
            "networkauthentications",
            'failed calling webhook "linkerd-policy-validator.linkerd.io": permission denied',
        ),
        "failed calling webhook",
    ),
    Cause(
        "proxy-injector webhook injects pods",
        refused("pods", 'pods "asked" is forbidden: violates PodSecurity "restricted:latest"'),
        'violates PodSecurity "restricted:latest"',
        "warning",
    ),
    Cause(
        "proxy-injector webhook injects pods",
        refused("pods", 'failed calling webhook "linkerd-proxy-injector.linkerd.io": refused'),
        "failed calling webhook",
    ),
    Cause(
        "sp-validator webhook refuses what is wrong",
        lambda api: api.deaf.add("sp-validator"),
        "a ServiceProfile that means nothing is let through",
    ),
    # control-plane-version, linkerd-control-plane-proxy
    Cause(
        "can retrieve the control plane version",
        gone("Deployment", "linkerd-destination"),
        "no deployment linkerd-destination",
    ),
    Cause(
        "control plane and cli versions match",
        lambda api: other_version(
            api.of("Deployment", "linkerd-destination")["spec"]["template"]["spec"]
        ),
        "control plane is 0.0.9",
        "warning",
    ),
    Cause(
        "control plane proxies are healthy",
        lambda api: waits(pod_of(api, "identity"), "linkerd-proxy", "ImagePullBackOff"),
        "container linkerd-proxy waits: ImagePullBackOff",
    ),
    Cause("control plane proxies are healthy", no_pods, "there are no pods"),
    Cause(
        "control plane proxies and cli versions match",
        lambda api: other_version(pod_of(api, "identity")["spec"]),
        "linkerd-identity-0 (0.0.9)",
        "warning",
    ),
    # linkerd-ha-checks
    Cause(
        "multiple replicas of control plane pods",
        lambda api: api.of("Deployment", "linkerd-identity").update(status={"readyReplicas": 1}),
        "linkerd-identity (1 ready)",
        "warning",
        HA,
    ),
    Cause(
        "control plane PodDisruptionBudgets exist",
        gone("PodDisruptionBudget", "linkerd-destination"),
        "missing poddisruptionbudgets: linkerd-destination",
        options=HA,
    ),
    Cause(
        "webhooks leave kube-system and the control plane alone",
        asks_about_itself,
        "linkerd-proxy-injector-webhook-config asks about kube-system",
        options=HA,
    ),
    # linkerd-data-plane, linkerd-identity-data-plane
    Cause(
        "data plane proxies certificate match CA",
        old_anchors,
        "shop/web-0",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        lambda api: certified(api, -25, -1),
        "certificates are over: shop/web-0",
        options=PROXY,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        lambda api: certified(api, -22, 2),
        "end soon and are not renewed: shop/web-0",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane proxies renew their certificates in time",
        silent,
        "pod shop/web-0: its proxy does not answer",
        options=PROXY,
    ),
    Cause(
        "data plane namespace exists",
        lambda _: None,
        'the "nowhere" namespace does not exist',
        options=(*PROXY, "-n", "nowhere"),
    ),
    Cause(
        "data plane proxies are ready",
        lambda api: api.add_meshed()["status"]["initContainerStatuses"][0].update(ready=False),
        "shop/web-0: Running, not ready",
        options=PROXY,
    ),
    Cause(
        "data plane proxies are ready",
        lambda _: None,
        "no pods of the data plane found",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane and cli versions match",
        lambda api: other_version(api.add_meshed()["spec"]),
        "web-0 (0.0.9)",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane pod labels are configured correctly",
        meshed_label,
        "shop/web-0 has label linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane service labels are configured correctly",
        lambda api: api.add(service(labels={names.INJECT: "enabled"})),
        "shop/web has label linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "data plane service annotations are configured correctly",
        lambda api: api.add(service(annotations={names.INJECT: "enabled"})),
        "shop/web has annotation linkerd.io/inject",
        "warning",
        PROXY,
    ),
    Cause(
        "opaque ports are properly annotated",
        opaque,
        "shop/web and pod shop/web-0 differ in 80",
        "warning",
        PROXY,
    ),
]

BEFORE = [
    Cause(
        "control plane namespace does not already exist",
        lambda api: api.add(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "linkerd"}}
        ),
        'the "linkerd" namespace already exists',
    ),
    Cause(
        "can create non-namespaced resources",
        denied("create", "clusterroles"),
        "cannot create clusterroles",
    ),
    *(
        Cause(
            f"can create {kind}",
            denied("create", kind.lower()),
            f"cannot create {kind.lower()}",
        )
        for kind in ("ServiceAccounts", "Services", "Deployments", "ConfigMaps", "Secrets")
    ),
    Cause("can read Secrets", denied("get", "secrets"), "cannot get secrets"),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        "the API server's clock and this one differ by",
        "warning",
    ),
    Cause(
        "no clock skew detected",
        lambda api: setattr(api, "date", ""),
        "the API server does not tell its time",
        "warning",
    ),
]


def found(result: Result, description: str) -> dict[str, str]:
    report = json.loads(result.stdout)
    listed = [check for group in report["categories"] for check in group["checks"]]
    (check,) = [check for check in listed if check["description"] == description]
    return check


def assert_told(result: Result, cause: Cause) -> None:
    check = found(result, cause.description)
    assert (check["result"], cause.said in check.get("error", "")) == (cause.result, True), check
    assert check.get("hint"), f"{cause.description}: what is to be done?"
    assert result.exit_code == (1 if cause.result == "error" else 0) or cause.result == "warning"


def install_ha(api: Any, refmesh: Callable[..., Result]) -> None:
    api.apply(refmesh("upgrade", "--ha").stdout)
    for document in api.objects.values():
        if document["kind"] == "Deployment":
            document["status"] = {"readyReplicas": 3}


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.description)
def test_failure_is_told(refmesh: Callable[..., Result], installed: Any, cause: Cause) -> None:
    options = cause.options
    if options == HA:
        install_ha(installed, refmesh)
        options = ()
    cause.act(installed)
    assert_told(refmesh("check", "--wait", "0s", "-o", "json", *options), cause)


@pytest.mark.parametrize("cause", BEFORE, ids=lambda cause: cause.description)
def test_failure_is_told_before(refmesh: Callable[..., Result], api: Any, cause: Cause) -> None:
    cause.act(api)
    assert_told(refmesh("check", "--pre", "-o", "json"), cause)


def test_every_check_has_been_seen_to_fail(refmesh: Callable[..., Result], installed: Any) -> None:
    install_ha(installed, refmesh)
    with connected(Where(kubeconfig=installed.kubeconfig)) as kubernetes:
        facts = Facts(connect=lambda: kubernetes, namespace="linkerd")
        known = {
            check.description
            for pre in (True, False)
            for category in checks.categories(facts, pre=pre, proxy=True)
            for check in category.checks
        }
    assert known == {cause.description for cause in (*CAUSES, *BEFORE)}


def test_every_message_has_been_seen(refmesh: Callable[..., Result], installed: Any) -> None:
    """Each place of the checks' sources that says what is wrong is where some cause leads to."""
    clean = pickle.dumps(vars(installed))
    reached = set()
    with connected(Where(kubeconfig=installed.kubeconfig)) as kubernetes:
        for cause in (*CAUSES, *BEFORE):
            if cause.act in {no_kubeconfig, server_gone}:
                continue  # of the connection, which is one for all here
            vars(installed).update(pickle.loads(clean))
            if cause in BEFORE:
                installed.objects = {}
            if cause.options == HA:
                install_ha(installed, refmesh)
            cause.act(installed)
            reached.add(raised(kubernetes, cause))
    said = {
        (str(module), node.lineno): ast.unparse(node)
        for module in Path(checks.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func) in {"Failed", "Warned"}
    }
    assert {place: text for place, text in said.items() if place not in reached} == {}


def raised(kubernetes: Kubernetes, cause: Cause) -> tuple[str, int]:
    """Where the check of this cause says what is wrong: file and line."""
    facts = Facts(
        connect=lambda: kubernetes,
        namespace="linkerd",
        data_plane_ns=cause.options[-1] if "-n" in cause.options else None,
    )
    (check,) = [
        check
        for category in checks.categories(facts, pre=cause in BEFORE, proxy=True)
        for check in category.checks
        if check.description == cause.description
    ]
    with pytest.raises(RefmeshError) as caught:
        check.run()
    last = caught.traceback[-1]
    return str(last.path), last.lineno + 1


def test_ha_installation_is_good(refmesh: Callable[..., Result], installed: Any) -> None:
    install_ha(installed, refmesh)
    result = refmesh("check", "--proxy", "--wait", "0s", "-o", "json")
    report = json.loads(result.stdout)
    bad = [c for g in report["categories"] for c in g["checks"] if c["result"] != "success"]
    assert [check["description"] for check in bad] == ["data plane proxies are ready"]
    assert "linkerd-ha-checks" in [group["categoryName"] for group in report["categories"]]


def test_upgrade_renews_the_certificates_of_webhooks_in_time(
    refmesh: Callable[..., Result], installed: Any
) -> None:
    serve(installed, INJECTOR, started=310)
    old = installed.of("Secret", INJECTOR)["data"]["tls.crt"]
    upgraded = refmesh("upgrade")
    assert INJECTOR in upgraded.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(upgraded.stdout)]
    assert kinds.index("MutatingWebhookConfiguration") < kinds.index("Secret")
    installed.apply(upgraded.stdout)
    new = installed.of("Secret", INJECTOR)["data"]["tls.crt"]
    assert new != old
    bundle = installed.of(*HOOKS["proxy-injector"])["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == base64.b64decode(new) + base64.b64decode(old)
    again = refmesh("upgrade")
    assert again.stderr == ""
    installed.apply(again.stdout)
    assert installed.of("Secret", INJECTOR)["data"]["tls.crt"] == new
    description = "proxy-injector cert is valid for at least 60 days"
    assert found(refmesh("check", "--wait", "0s", "-o", "json"), description)["result"] == "success"


def test_upgrade_replaces_an_issuer_that_is_gone(
    refmesh: Callable[..., Result], installed: Any, tmp_path: Path
) -> None:
    installed.remove("Secret", ISSUER)
    installed.remove("ConfigMap", ROOTS)
    root = Signed(-1, 300)
    made = Signed(-1, 300, signer=root)
    options = []
    for option, text in (
        ("identity-trust-anchors-file", root.pem),
        ("identity-issuer-certificate-file", made.pem),
        ("identity-issuer-key-file", made.key_pem),
    ):
        (tmp_path / option).write_text(text)
        options.append(f"--{option}={tmp_path / option}")
    installed.apply(refmesh("upgrade", *options).stdout)
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(
    "damage",
    [
        gone("Secret", INJECTOR),
        lambda api: put(api, INJECTOR, tls_crt="garbage"),
        lambda api: put(api, INJECTOR, tls_key=Signed(-1, 9).key_pem),
        lambda api: serve(api, INJECTOR, 1, host="injector.example"),
        lambda api: serve(api, INJECTOR, started=400),
    ],
)
def test_upgrade_heals_the_certificates_of_webhooks(
    refmesh: Callable[..., Result], installed: Any, damage: Callable[[Any], None]
) -> None:
    damage(installed)
    installed.apply(refmesh("upgrade").stdout)
    result = refmesh("check", "--wait", "0s")
    assert result.exit_code == 0, result.stdout
