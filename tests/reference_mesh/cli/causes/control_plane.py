"""Of the API, the installation, its webhooks and its versions."""

from __future__ import annotations

from tests.reference_mesh.cli import live_acts
from tests.reference_mesh.cli.breaking import (
    HOOKS,
    asks_about_itself,
    denied,
    foreign_pod,
    gone,
    networks,
    no_endpoints,
    no_kubeconfig,
    no_pods,
    node,
    other_version,
    pod_of,
    refused,
    server_gone,
    uncovered_service,
    unschedulable,
    waits,
)
from tests.reference_mesh.cli.causes.model import HA, Cause

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
        live=live_acts.as_it_is,
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
        live=live_acts.no_replicas,
    ),
    Cause(
        "control plane replica sets are ready",
        gone("Deployment", "linkerd-proxy-injector"),
        'deployments "linkerd-proxy-injector" not found',
        live=live_acts.deployment_gone("linkerd-proxy-injector"),
    ),
    Cause(
        "no unschedulable pods",
        unschedulable,
        "didn't match Pod's node",
        live=live_acts.component("identity", "identity", spec=live_acts.NOWHERE),
    ),
    Cause(
        "control plane pods are ready",
        lambda api: waits(pod_of(api, "destination"), "destination", "CrashLoopBackOff"),
        "container destination waits: CrashLoopBackOff",
        live=live_acts.CRASHES,
    ),
    Cause(
        "control plane pods are ready",
        no_pods,
        "no pods of the control plane in namespace",
        live=live_acts.NO_PODS,
    ),
    Cause(
        "control plane services have endpoints",
        gone("Service", "linkerd-policy"),
        "service linkerd-policy does not exist",
    ),
    Cause(
        "control plane services have endpoints",
        no_endpoints,
        "service linkerd-dst has no endpoint that is ready",
        live=live_acts.unserved,
    ),
    Cause("cluster networks contain all node podCIDRs", node, "node-a (8.8.8.0/24)"),
    Cause(
        "cluster networks contain all pods",
        foreign_pod,
        "shop/web-0 (8.8.8.8)",
        live=live_acts.foreign_pod,
    ),
    Cause(
        "cluster networks contain all pods",
        lambda api: networks(api, "nowhere"),
        "clusterNetworks: 'nowhere' does not appear to be",
    ),
    Cause("cluster networks contain all services", uncovered_service, "shop/web (10.96.9.9)"),
    # linkerd-config
    *(
        Cause(f"control plane {kind}s exist", gone(kind, name), name)
        for kind, name in (
            ("ClusterRole", "linkerd-linkerd-identity"),
            ("ClusterRoleBinding", "linkerd-linkerd-destination"),
            ("Role", "linkerd-identity"),
            ("RoleBinding", "linkerd-identity"),
            ("CustomResourceDefinition", "servers.policy.linkerd.io"),
            HOOKS["proxy-injector"],
            HOOKS["sp-validator"],
        )
    ),
    Cause(
        "control plane ServiceAccounts exist",
        gone("ServiceAccount", "linkerd-proxy-injector"),
        "linkerd-proxy-injector",
        live=live_acts.account_gone,
    ),
    Cause(
        "control plane service accounts may do what they need",
        denied("watch", "endpointslices"),
        "linkerd-destination may not watch endpointslices",
        live=live_acts.forbidden("watch", "endpointslices"),
    ),
    # linkerd-admission
    Cause(
        "proxy-injector webhook injects pods",
        lambda api: api.deaf.add("proxy-injector"),
        "let through without a sidecar",
        live=live_acts.untrusted("proxy-injector", "Ignore"),
    ),
    Cause(
        "policy-validator webhook refuses what is wrong",
        lambda api: api.deaf.add("policy-validator"),
        "a NetworkAuthentication that means nothing is let through",
        live=live_acts.untrusted("policy-validator", "Ignore"),
    ),
    Cause(
        "policy-validator webhook refuses what is wrong",
        refused(
            "networkauthentications",
            'failed calling webhook "linkerd-policy-validator.linkerd.io": permission denied',
        ),
        "failed calling webhook",
        live=live_acts.untrusted("policy-validator", "Fail"),
    ),
    Cause(
        "proxy-injector webhook injects pods",
        refused("pods", 'pods "asked" is forbidden: violates PodSecurity "restricted:latest"'),
        'violates PodSecurity "restricted:latest"',
        "warning",
        live=live_acts.restricted,
    ),
    Cause(
        "proxy-injector webhook injects pods",
        refused("pods", 'failed calling webhook "linkerd-proxy-injector.linkerd.io": refused'),
        "failed calling webhook",
        live=live_acts.untrusted("proxy-injector", "Fail"),
    ),
    Cause(
        "sp-validator webhook refuses what is wrong",
        lambda api: api.deaf.add("sp-validator"),
        "a ServiceProfile that means nothing is let through",
        live=live_acts.untrusted("sp-validator", "Ignore"),
    ),
    # control-plane-version, linkerd-control-plane-proxy
    Cause(
        "can retrieve the control plane version",
        gone("Deployment", "linkerd-destination"),
        "no deployment linkerd-destination",
        live=live_acts.deployment_gone("linkerd-destination"),
    ),
    Cause(
        "control plane and cli versions match",
        lambda api: other_version(
            api.of("Deployment", "linkerd-destination")["spec"]["template"]["spec"]
        ),
        "control plane is 0.0.9",
        "warning",
        live=live_acts.paused,
    ),
    Cause(
        "control plane proxies are healthy",
        lambda api: waits(pod_of(api, "identity"), "linkerd-proxy", "ImagePullBackOff"),
        "container linkerd-proxy waits: ImagePullBackOff",
        live=live_acts.OTHER_PROXY,
    ),
    Cause(
        "control plane proxies are healthy",
        no_pods,
        "there are no pods",
        live=live_acts.NO_PODS,
    ),
    Cause(
        "control plane proxies and cli versions match",
        lambda api: other_version(pod_of(api, "identity")["spec"]),
        "linkerd-identity-0 (0.0.9)",
        "warning",
        live=live_acts.OTHER_PROXY,
    ),
    # linkerd-ha-checks
    Cause(
        "multiple replicas of control plane pods",
        lambda api: api.of("Deployment", "linkerd-identity").update(status={"readyReplicas": 1}),
        "linkerd-identity (1 ready)",
        "warning",
        HA,
        live_acts.scaled(1, "linkerd-identity"),
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
]
