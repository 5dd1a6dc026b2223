"""What causes on a cluster what an API with nothing behind it is only told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.mesh import resources
from reference_mesh.manifests import certificates, names
from tests.reference_mesh.cli.breaking import (
    HOOKS,
    ISSUER,
    Signed,
    denied,
    other_version,
    put,
    refused,
    trust,
)
from tests.reference_mesh.cli.live import ASLEEP, DEPLOYMENTS, IMAGE, ON_KIND, PYTHON, ROOT
from tests.reference_mesh.cli.live_api import place, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.reference_mesh.cli.live_api import LiveApi

ISSUER_ENDS_S = 26
"""Time for a pod to start in, and then a few seconds of its certificate's last 15 %."""
NEEDED = (
    "clusterrolebindings",
    "clusterroles",
    "configmaps",
    "customresourcedefinitions",
    "deployments",
    "mutatingwebhookconfigurations",
    "namespaces",
    "secrets",
    "serviceaccounts",
    "services",
    "validatingwebhookconfigurations",
)
"""What someone must have rights to who installs the mesh."""
NOWHERE = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}


def as_it_is(_: LiveApi) -> None:
    """The cluster has no mesh yet."""


# The control plane.


def paused(api: LiveApi) -> None:
    """Another version in a Deployment that does not roll it out."""
    spec = api.of("Deployment", "linkerd-destination")["spec"]
    spec["paused"] = True
    other_version(spec["template"]["spec"])


def scaled(replicas: int, *deployments: str) -> Callable[[LiveApi], None]:
    def act(api: LiveApi) -> None:
        available_again(api)
        for name in deployments:
            api.of("Deployment", name)["spec"]["replicas"] = replicas

    return act


def no_replicas(api: LiveApi) -> None:
    """A Deployment whose one pod finds no node."""
    available_again(api)
    spec = api.of("Deployment", "linkerd-identity")["spec"]
    spec |= {"replicas": 1, "strategy": {"type": "Recreate"}}
    spec["template"]["spec"] |= NOWHERE


def deployment_gone(name: str) -> Callable[[LiveApi], None]:
    def act(api: LiveApi) -> None:
        available_again(api)
        api.remove("Deployment", name)

    return act


def account_gone(api: LiveApi) -> None:
    """Its tokens do not hold for a new one of its name: its pods must be restarted."""
    available_again(api)
    api.undo.callback(resources.restart, api.cluster.client(), "linkerd", "linkerd-proxy-injector")
    api.remove("ServiceAccount", "linkerd-proxy-injector")


def available_again(api: LiveApi) -> None:
    """Wait for the control plane once all is undone that comes later."""
    api.undo.callback(resources.deployments_available, api.cluster, "linkerd", DEPLOYMENTS)


def component(name: str, container: str, **fields: Any) -> Callable[[LiveApi], None]:
    """One more pod of the control plane: `linkerd-NAME-0`, with this container."""
    spec = fields.pop("spec", {})
    document = pod(containers=[{"name": container, "image": IMAGE, **fields}], **spec)
    document["metadata"] = {
        "name": f"linkerd-{name}-0",
        "namespace": "linkerd",
        "labels": {names.COMPONENT: name},
    }

    def act(api: LiveApi) -> None:
        if not spec:
            # A scheduler would keep it off every node that has a pod of its component.
            document["spec"]["nodeName"] = api.get("/api/v1/nodes")["items"][-1]["metadata"]["name"]
        api.add(document)

    return act


CRASHES = component("destination", "destination", command=[PYTHON, "-c", "raise SystemExit(1)"])
NO_PODS = scaled(0, *DEPLOYMENTS)
OTHER_PROXY = component("identity", names.PROXY_CONTAINER, image="meshmark.dev/proxy:0.0.9")


def unserved(api: LiveApi) -> None:
    """A Service that chooses no pod."""
    api.of("Service", "linkerd-dst")["spec"]["selector"] = {"app": "nowhere"}


# Webhooks.


def untrusted(hook: str, policy: str) -> Callable[[LiveApi], None]:
    """A webhook that the API server does not speak to, with this failure policy."""

    def act(api: LiveApi) -> None:
        trust(api, hook, certificates.make_webhook(["elsewhere"]).certificate_pem)
        api.of(*HOOKS[hook])["webhooks"][0]["failurePolicy"] = policy

    return act


def restricted(api: LiveApi) -> None:
    """No pod security in the embedded cluster: there a front refuses as it would."""
    if ON_KIND:
        label = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.undo.callback(api.patch, *labelled(dict.fromkeys(label)))
        api.patch(*labelled(label))
    else:
        refused("pods", 'pods "asked" is forbidden: violates PodSecurity "restricted:latest"')(api)


def labelled(labels: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "/api/v1/namespaces/default", {"metadata": {"labels": labels}}


# Roles.


def forbidden(verb: str, resource: str) -> Callable[[LiveApi], None]:
    """The embedded cluster enforces no roles: there a front denies what they do not allow."""

    def act(api: LiveApi) -> None:
        if not ON_KIND:
            return denied(verb, resource)(api)
        role = api.of("ClusterRole", "linkerd-linkerd-destination")
        role["rules"] = [rule for rule in role["rules"] if resource not in rule["resources"]]
        return None

    return act


def lacking(verb: str, resource: str) -> Callable[[LiveApi], None]:
    """`refmesh` run by one who may do what an installation takes, but for this; or the front."""

    def act(api: LiveApi) -> None:
        if ON_KIND:
            rights = {(each, one) for each in ("create", "get") for one in NEEDED}
            installer(api, rights - {(verb, resource)})
        else:
            denied(verb, resource)(api)

    return act


def installer(api: LiveApi, rights: Iterable[tuple[str, str]]) -> None:
    """Run `refmesh` as an account that has these rights, verbs and resources."""
    here = {"name": "installer", "namespace": "default"}
    account = api.add({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here})
    group = "rbac.authorization.k8s.io"
    kinds = {"apiVersion": f"{group}/v1", "metadata": {"name": "installer"}}
    rules = [{"apiGroups": ["*"], "resources": [one], "verbs": [verb]} for verb, one in rights]
    api.add({**kinds, "kind": "ClusterRole", "rules": rules})
    binding = {
        "kind": "ClusterRoleBinding",
        "subjects": [{"kind": "ServiceAccount", **here}],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "installer"},
    }
    api.add({**kinds, **binding})
    api.sign_in(account)


# The data plane.


def not_renewed(api: LiveApi) -> None:
    """
    A pod that may have no other certificate than its first, which ends with its issuer.

    Its proxy asks for one with the token of an account that is gone.
    """
    account = {"name": "web", "namespace": "shop"}
    made = api.add({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    issuer = Signed(-1, ISSUER_ENDS_S / 86_400, signer=ROOT)
    put(api, ISSUER, crt_pem=issuer.pem, key_pem=issuer.key_pem)
    api.write()
    api.add_meshed(serviceAccountName="web")
    api.delete(place(made))


NOT_RENEWED = (
    "a kubelet shows an issuer that was replaced a minute or two later, when it is over"
    if ON_KIND
    else not_renewed
)


def by_hand(**proxy: Any) -> Callable[[LiveApi], None]:
    """A pod in the mesh whose proxy only sleeps."""
    sidecar = {
        "name": names.PROXY_CONTAINER,
        "image": IMAGE,
        "command": ASLEEP,
        "restartPolicy": "Always",
        **proxy,
    }
    document = pod({names.INJECT: "disabled"}, initContainers=[sidecar])
    document["metadata"]["labels"][names.CONTROL_PLANE_NS] = "linkerd"
    return lambda api: api.add(document)


def foreign_pod(api: LiveApi) -> None:
    """A pod that no kubelet has, and so nobody else writes the status of."""
    address = place(api.add(pod(**NOWHERE)))
    status = {"podIP": "8.8.8.8", "podIPs": [{"ip": "8.8.8.8"}]}
    api.patch(f"{address}/status", {"status": status})


def other_proxy(api: LiveApi) -> None:
    """A pod that asks for a proxy of another version."""
    api.add(pod({names.INJECT: "enabled", f"{names.CONFIG}proxy-version": "0.0.9"}))
