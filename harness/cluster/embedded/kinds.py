"""The built-in kinds: those that a mesh, its applications and kubectl's commands ask for."""

from __future__ import annotations

from typing import Any

from harness.cluster.embedded.resources import CREATE_ONLY, Resource

__all__ = ["BUILT_IN"]


def _core(plural: str, kind: str, short: str = "", **more: Any) -> Resource:
    return _of("", "v1", plural, kind, short, **more)


def _of(
    group: str, versions: str, plural: str, kind: str, short: str = "", **more: Any
) -> Resource:
    return Resource(
        group=group,
        versions=tuple(versions.split()),
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        short_names=tuple(short.split()),
        **more,
    )


_ALL = ("all",)
_STATUS = ("status",)
_SCALED = ("status", "scale")
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
_POD_SUBRESOURCES = ("status", "log", "proxy", "eviction", "exec", "attach", "portforward")

BUILT_IN = (
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep"),
    _core("events", "Event", "ev"),
    _core("limitranges", "LimitRange", "limits", stored_only=True),
    _core("namespaces", "Namespace", "ns", namespaced=False, subresources=("status", "finalize")),
    _core("nodes", "Node", "no", namespaced=False, subresources=_STATUS),
    _core(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        subresources=_STATUS,
        stored_only=True,
    ),
    _core(
        "persistentvolumes",
        "PersistentVolume",
        "pv",
        namespaced=False,
        subresources=_STATUS,
        stored_only=True,
    ),
    _core("pods", "Pod", "po", categories=_ALL, subresources=_POD_SUBRESOURCES),
    _core("podtemplates", "PodTemplate", stored_only=True),
    _core(
        "replicationcontrollers",
        "ReplicationController",
        "rc",
        categories=_ALL,
        subresources=_SCALED,
        stored_only=True,
    ),
    _core("resourcequotas", "ResourceQuota", "quota", subresources=_STATUS, stored_only=True),
    _core("secrets", "Secret"),
    _core("serviceaccounts", "ServiceAccount", "sa", subresources=("token",)),
    _core("services", "Service", "svc", categories=_ALL, subresources=("status", "proxy")),
    _of("apps", "v1", "controllerrevisions", "ControllerRevision", stored_only=True),
    _of(
        "apps",
        "v1",
        "daemonsets",
        "DaemonSet",
        "ds",
        categories=_ALL,
        subresources=_STATUS,
        stored_only=True,
    ),
    _of("apps", "v1", "deployments", "Deployment", "deploy", categories=_ALL, subresources=_SCALED),
    _of("apps", "v1", "replicasets", "ReplicaSet", "rs", categories=_ALL, subresources=_SCALED),
    _of(
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        "sts",
        categories=_ALL,
        subresources=_SCALED,
        stored_only=True,
    ),
    _of(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "hpa",
        categories=_ALL,
        subresources=_STATUS,
        stored_only=True,
    ),
    _of(
        "batch",
        "v1",
        "cronjobs",
        "CronJob",
        "cj",
        categories=_ALL,
        subresources=_STATUS,
        stored_only=True,
    ),
    _of("batch", "v1", "jobs", "Job", categories=_ALL, subresources=_STATUS),
    _of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    _of("coordination.k8s.io", "v1", "leases", "Lease"),
    _of(
        "networking.k8s.io",
        "v1",
        "ingresses",
        "Ingress",
        "ing",
        subresources=_STATUS,
        stored_only=True,
    ),
    _of(
        "networking.k8s.io",
        "v1",
        "ingressclasses",
        "IngressClass",
        namespaced=False,
        stored_only=True,
    ),
    _of("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", stored_only=True),
    _of(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        subresources=_STATUS,
    ),
    _of("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", namespaced=False),
    _of(
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        "sc",
        namespaced=False,
        stored_only=True,
    ),
    _of(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    _of(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _of(_RBAC, "v1", "roles", "Role"),
    _of(_RBAC, "v1", "rolebindings", "RoleBinding"),
    _of(
        _ADMISSION,
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        namespaced=False,
        categories=("api-extensions",),
    ),
    _of(
        _ADMISSION,
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        namespaced=False,
        categories=("api-extensions",),
    ),
    _of(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd crds",
        namespaced=False,
        categories=("api-extensions",),
        subresources=_STATUS,
    ),
    _of(
        "apiregistration.k8s.io",
        "v1",
        "apiservices",
        "APIService",
        namespaced=False,
        categories=("api-extensions",),
        subresources=_STATUS,
        stored_only=True,
    ),
    _of(_AUTHENTICATION, "v1", "tokenreviews", "TokenReview", namespaced=False, verbs=CREATE_ONLY),
    _of(
        _AUTHENTICATION,
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _of(
        _AUTHORIZATION,
        "v1",
        "subjectaccessreviews",
        "SubjectAccessReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _of(
        _AUTHORIZATION,
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _of(
        _AUTHORIZATION,
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        namespaced=False,
        verbs=CREATE_ONLY,
    ),
    _of(
        _AUTHORIZATION,
        "v1",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        verbs=CREATE_ONLY,
    ),
)
