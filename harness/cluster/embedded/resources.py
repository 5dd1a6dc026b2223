"""
The kinds that the embedded API server knows: built in ones, and those that CRDs add.

A kind is named by its key, `(group, plural)`, for instance `("apps", "deployments")` or
`("", "pods")`. An object is stored once, in the first of its kind's versions; where a kind is
served in several versions (only CRDs are) they differ in `apiVersion` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

from harness.cluster.embedded.status import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ALL_VERBS", "CREATE_ONLY", "Key", "Registry", "Resource"]

Key = tuple[str, str]
"""Group and plural name, lower case; the core group is the empty string."""

Verbs = NewType("Verbs", tuple[str, ...])

ALL_VERBS = Verbs(
    ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
)
CREATE_ONLY = Verbs(("create",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind, as discovery describes it. `versions[0]` is the one that is stored."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: Verbs = ALL_VERBS
    custom: bool = False
    stored_only: bool = False
    """Nothing in this engine acts on it; who creates one is told so by a Warning header."""

    @property
    def key(self) -> Key:
        """What `Store` calls this kind."""
        return (self.group, self.plural)

    @property
    def qualified(self) -> str:
        """The name in messages: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`apiVersion` of stored objects."""
        return self.api_version_of(self.versions[0])

    def api_version_of(self, version: str) -> str:
        """`apiVersion` of objects that are served in `version`."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def has_status(self) -> bool:
        """Whether `status` is written through a subresource of its own."""
        return "status" in self.subresources


class Registry:
    """All kinds that there are at this moment."""

    def __init__(self, resources: Iterable[Resource] | None = None) -> None:
        self._by_key: dict[Key, Resource] = {}
        for resource in _BUILT_IN if resources is None else resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Make a kind known, or replace what was known of it."""
        self._by_key[resource.key] = resource

    def remove(self, key: Key) -> None:
        """Forget a kind; no error when it is not known."""
        self._by_key.pop(key, None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_key.values()))

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def __getitem__(self, key: Key) -> Resource:
        """The kind of that key. Raises NotFound, as a server does for an unknown path."""
        try:
            return self._by_key[key]
        except KeyError:
            raise NotFound from None

    def served(self, group: str, version: str, plural: str) -> Resource:
        """The kind behind a path. Raises NotFound."""
        resource = self[group, plural]
        if version not in resource.versions:
            raise NotFound
        return resource

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The kind that objects with this `apiVersion` and `kind` are of, if it is known."""
        group, _, version = api_version.rpartition("/")
        for resource in self._by_key.values():
            named = resource.group == group and resource.kind == kind
            if named and version in resource.versions:
                return resource
        return None


def _core(plural: str, kind: str, short: str = "", **more: object) -> Resource:
    return _of("", "v1", plural, kind, short, **more)


def _of(
    group: str, versions: str, plural: str, kind: str, short: str = "", **more: object
) -> Resource:
    return Resource(
        group=group,
        versions=tuple(versions.split()),
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        short_names=tuple(short.split()),
        **more,  # type: ignore[arg-type]
    )


_ALL = ("all",)
_STATUS = ("status",)
_SCALED = ("status", "scale")
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
_POD_SUBRESOURCES = ("status", "log", "proxy", "eviction", "exec", "attach", "portforward")

_BUILT_IN = (
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
        stored_only=True,
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
