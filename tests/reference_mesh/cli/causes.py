"""What makes each check of `refmesh check` fail, and what it then says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from reference_mesh.manifests import names
from tests.reference_mesh.cli.breaking import (
    HOOKS,
    INJECTOR,
    ISSUER,
    ROOTS,
    VALIDATOR,
    Signed,
    anchors,
    asks_about_itself,
    certified,
    client_of,
    denied,
    foreign_pod,
    foreign_service,
    gone,
    issuer,
    meshed_label,
    no_endpoints,
    no_kubeconfig,
    no_pods,
    node,
    old_anchors,
    opaque,
    other_version,
    pod_of,
    put,
    refused,
    serve,
    server_gone,
    service,
    silent,
    trust,
    unschedulable,
    waits,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result


@dataclass(frozen=True)
class Cause:
    """What makes a check fail, what it then says, and the options of the run that shows it."""

    description: str
    act: Callable[[Any], object]
    said: str
    result: str = "error"
    options: tuple[str, ...] = ()


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
    """This check, in the output of a run with `-o json`."""
    report = json.loads(result.stdout)
    listed = [check for group in report["categories"] for check in group["checks"]]
    (check,) = [check for check in listed if check["description"] == description]
    return check
