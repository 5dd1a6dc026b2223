"""
Defaults of built-in kinds, those that clients and controllers notice.

Values are those of the Kubernetes API reference. All are filled in place, and only where absent.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.quality import quality_of
from harness.cluster.embedded.status import Forbidden, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["add_account", "complete"]

_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a container finds token, CA and namespace."""


def complete(resource: Resource, obj: Obj) -> None:
    """Fill in the defaults of an object of a built-in kind."""
    completes = _BY_KIND.get(resource.key)
    if completes is not None:
        completes(obj)


def add_account(store: Store, pod: Obj) -> None:
    """
    Give a pod its service account and, unless it declines, a volume with that account's token.

    Raises:
        Forbidden: the account that it names does not exist.

    """
    spec = pod["spec"]
    name = spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = name
    namespace = pod["metadata"]["namespace"]
    try:
        account = store.peek(("", "serviceaccounts"), namespace, name)
    except NotFound:
        called = pod["metadata"].get("name") or pod["metadata"].get("generateName", "")
        raise Forbidden(
            f'pods "{called}" is forbidden: error looking up service account {namespace}/{name}: '
            f'serviceaccount "{name}" not found',
            resource=store.registry["", "pods"],
            name=called,
        ) from None
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken", True)
    if wanted:
        _mount_token(spec)


def _mount_token(spec: Obj) -> None:
    containers = [*spec.get("initContainers", ()), *spec.get("containers", ())]
    bare = [one for one in containers if not _has_account_mount(one)]
    if not bare:
        return
    name = next(
        (
            volume["name"]
            for volume in spec.get("volumes") or ()
            if volume["name"].startswith("kube-api-access-")
        ),
        "",
    )
    if not name:
        name = f"kube-api-access-{secrets.token_hex(3)[:5]}"
        spec.setdefault("volumes", []).append(_token_volume(name))
    for container in bare:
        mount = {"name": name, "readOnly": True, "mountPath": _ACCOUNT_MOUNT}
        container.setdefault("volumeMounts", []).append(mount)


def _has_account_mount(container: Obj) -> bool:
    mounts = container.get("volumeMounts") or ()
    return any(mount.get("mountPath") == _ACCOUNT_MOUNT for mount in mounts)


def _token_volume(name: str) -> Obj:
    ca = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": ca},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"defaultMode": 420, "sources": sources}}


def _fill(target: Obj, **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)


def _pod(obj: Obj) -> None:
    _pod_spec(obj.setdefault("spec", {}))
    _fill(obj["spec"], enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    if "status" not in obj:
        obj["status"] = {"phase": "Pending", "qosClass": quality_of(obj["spec"])}


def _template(obj: Obj) -> None:
    template = obj.setdefault("spec", {}).get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        _pod_spec(template.setdefault("spec", {}))


def _pod_spec(spec: Obj) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _container(container: Obj) -> None:
    image = container.get("image", "")
    untagged = ":" not in image.rpartition("/")[2] and "@" not in image
    latest = untagged or image.endswith(":latest")
    _fill(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if latest else "IfNotPresent",
    )
    limits = container["resources"].get("limits")
    if limits:
        container["resources"]["requests"] = {
            **limits,
            **(container["resources"].get("requests") or {}),
        }
    for port in container.get("ports") or ():
        _fill(port, protocol="TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            _fill(reference, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _probe(container[name])
    lifecycle = container.get("lifecycle") or {}
    for name in ("postStart", "preStop"):
        _handler(lifecycle.get(name) or {})


def _probe(probe: Obj) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _handler(probe)


def _handler(handler: Obj) -> None:
    if handler.get("httpGet") is not None:
        _fill(handler["httpGet"], path="/", scheme="HTTP")
    if handler.get("grpc") is not None:
        _fill(handler["grpc"], service="")


def _volume(volume: Obj) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if volume.get(name) is not None:
            _fill(volume[name], defaultMode=420)
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("serviceAccountToken") is not None:
            _fill(source["serviceAccountToken"], expirationSeconds=3600)
    if volume.get("hostPath") is not None:
        _fill(volume["hostPath"], type="")


def _deployment(obj: Obj) -> None:
    _template(obj)
    _fill(
        obj["spec"],
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = obj["spec"]["strategy"]
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        _fill(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")


def _replica_set(obj: Obj) -> None:
    _template(obj)
    _fill(obj["spec"], replicas=1)


def _stateful_set(obj: Obj) -> None:
    _template(obj)
    _fill(
        obj["spec"],
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=10,
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    )


def _daemon_set(obj: Obj) -> None:
    _template(obj)
    rolling = {"maxSurge": 0, "maxUnavailable": 1}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    _fill(obj["spec"], revisionHistoryLimit=10, updateStrategy=strategy)


def _job(obj: Obj) -> None:
    _template(obj)
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _fill(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)


def _cron_job(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )


def _service(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP")
        if port.get("targetPort") in {None, "", 0}:
            port["targetPort"] = port.get("port")
    if spec["type"] == "ExternalName":
        return
    _fill(
        spec,
        internalTrafficPolicy="Cluster",
        ipFamilies=["IPv4"],
        ipFamilyPolicy="SingleStack",
    )
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        _fill(spec, externalTrafficPolicy="Cluster")
    obj.setdefault("status", {"loadBalancer": {}})


def _namespace(obj: Obj) -> None:
    metadata = obj["metadata"]
    name = metadata.get("name")
    if name:
        labels = metadata["labels"] = metadata.get("labels") or {}
        labels["kubernetes.io/metadata.name"] = name
    if "deletionTimestamp" not in metadata:
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {"phase": "Active"})


def _secret(obj: Obj) -> None:
    _fill(obj, type="Opaque")
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _webhooks(obj: Obj) -> None:
    for hook in obj.get("webhooks") or ():
        _fill(
            hook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
        )
        if obj.get("kind") == "MutatingWebhookConfiguration":
            _fill(hook, reinvocationPolicy="Never")
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            _fill(service, port=443)
        for rule in hook.get("rules") or ():
            _fill(rule, scope="*")


def _crd(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, conversion={"strategy": "None"})
    names = spec.get("names") or {}
    if names.get("kind"):
        _fill(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")


def _role_binding(obj: Obj) -> None:
    group = "rbac.authorization.k8s.io"
    if isinstance(obj.get("roleRef"), dict):
        _fill(obj["roleRef"], apiGroup=group)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in {"User", "Group"}:
            _fill(subject, apiGroup=group)


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_BY_KIND: dict[Key, Callable[[Obj], None]] = {
    ("", "namespaces"): _namespace,
    ("", "pods"): _pod,
    ("", "replicationcontrollers"): _replica_set,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("apps", "daemonsets"): _daemon_set,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("batch", "cronjobs"): _cron_job,
    ("batch", "jobs"): _job,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _crd,
    (_ADMISSION, "mutatingwebhookconfigurations"): _webhooks,
    (_ADMISSION, "validatingwebhookconfigurations"): _webhooks,
    (_RBAC, "rolebindings"): _role_binding,
    (_RBAC, "clusterrolebindings"): _role_binding,
}
