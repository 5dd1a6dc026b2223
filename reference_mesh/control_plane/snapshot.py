"""
The snapshot: facts of everything that the control plane follows, indexed in memory.

One asyncio thread writes and reads it, so a view compiled from it sees one state of the cluster.
Every look-up goes through a `Reader`, which notes what was asked for: when that changes (an
object that was absent comes, too), the view is compiled again, and no other view is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from reference_mesh.control_plane.model import pods, policies, profiles, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Fact", "Key", "Reader", "Snapshot"]

Fact = (
    pods.Namespace
    | pods.Node
    | pods.Pod
    | services.Service
    | services.Slice
    | policies.Server
    | policies.ServerAuthorization
    | policies.AuthorizationPolicy
    | policies.MeshTLS
    | policies.NetworkAuthentication
    | profiles.Profile
)
Key = tuple[str, str]
"""Namespace (empty for cluster-wide kinds) and name."""

T = TypeVar("T")


class Snapshot:
    """Facts by kind, namespace and name, and by the addresses and names that requests carry."""

    def __init__(self, on_change: Callable[[frozenset[str]], None] = lambda _: None) -> None:
        """on_change: called with the topics of each change, after it is visible."""
        self._on_change = on_change
        self._facts: dict[type, dict[Key, Fact]] = {}
        self._by_topic: dict[str, dict[tuple[type, Key], Fact]] = {}

    def keys(self, kind: type) -> frozenset[Key]:
        """Which objects of a kind there are."""
        return frozenset(self._facts.get(kind, ()))

    def put(self, key: Key, fact: Fact) -> None:
        """Make this the state of an object."""
        kind = type(fact)
        known = self._facts.setdefault(kind, {})
        old = known.get(key)
        if old == fact:
            return
        known[key] = fact
        self._unindex(kind, key, old)
        for topic in _topics(fact):
            self._by_topic.setdefault(topic, {})[kind, key] = fact
        self._on_change(frozenset((*_topics(fact), *(_topics(old) if old else ()))))

    def drop(self, kind: type, key: Key) -> None:
        """Forget an object."""
        old = self._facts.get(kind, {}).pop(key, None)
        if old is not None:
            self._unindex(kind, key, old)
            self._on_change(frozenset(_topics(old)))

    def get(self, kind: type[T], key: Key) -> T | None:
        """The state of one object."""
        return self._facts.get(kind, {}).get(key)  # type: ignore[return-value]

    def about(self, topic: str) -> Iterable[Fact]:
        """The facts that belong to a topic."""
        return self._by_topic.get(topic, {}).values()

    def _unindex(self, kind: type, key: Key, old: Fact | None) -> None:
        for topic in _topics(old) if old is not None else ():
            entries = self._by_topic[topic]
            entries.pop((kind, key), None)
            if not entries:
                del self._by_topic[topic]


class Reader:
    """Look-ups of one compilation. `topics` is what they depended on."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.topics: set[str] = set()

    def namespace(self, name: str) -> pods.Namespace | None:
        """One namespace."""
        return self._get(pods.Namespace, "namespace", ("", name))

    def node(self, name: str) -> pods.Node | None:
        """One node."""
        return self._get(pods.Node, "node", ("", name))

    def pod(self, namespace: str, name: str) -> pods.Pod | None:
        """One pod."""
        return self._get(pods.Pod, "pod", (namespace, name))

    def service(self, namespace: str, name: str) -> services.Service | None:
        """One service."""
        return self._get(services.Service, "service", (namespace, name))

    def profile(self, namespace: str, name: str) -> profiles.Profile | None:
        """One ServiceProfile; its name is the whole name of a service."""
        return self._get(profiles.Profile, "profile", (namespace, name))

    def mesh_tls(self, namespace: str, name: str) -> policies.MeshTLS | None:
        """One MeshTLSAuthentication."""
        return self._get(policies.MeshTLS, "mesh-tls", (namespace, name))

    def network(self, namespace: str, name: str) -> policies.NetworkAuthentication | None:
        """One NetworkAuthentication."""
        return self._get(policies.NetworkAuthentication, "network", (namespace, name))

    def service_at(self, address: str) -> services.Service | None:
        """The service with this virtual address."""
        return next(self._about(f"ip:{address}", services.Service), None)

    def pod_at(self, address: str) -> pods.Pod | None:
        """
        The pod with this address; running pods before finished ones, which may share it.

        Pods on the host's network share the node's address and are nobody's in particular.
        """
        found = [p for p in self._about(f"ip:{address}", pods.Pod) if not p.host_network]
        return min(found, key=lambda pod: (pod.finished, pod.terminating, pod.name), default=None)

    def slices(self, namespace: str, service: str) -> tuple[services.Slice, ...]:
        """The endpoint slices of a service."""
        return tuple(self._about(f"slices:{namespace}/{service}", services.Slice))

    def servers(self, namespace: str) -> tuple[policies.Server, ...]:
        """The Servers of a namespace."""
        return tuple(self._about(f"policy:{namespace}", policies.Server))

    def server_authorizations(self, namespace: str) -> tuple[policies.ServerAuthorization, ...]:
        """The ServerAuthorizations of a namespace."""
        return tuple(self._about(f"policy:{namespace}", policies.ServerAuthorization))

    def authorization_policies(self, namespace: str) -> tuple[policies.AuthorizationPolicy, ...]:
        """The AuthorizationPolicies of a namespace."""
        return tuple(self._about(f"policy:{namespace}", policies.AuthorizationPolicy))

    def _get(self, kind: type[T], word: str, key: Key) -> T | None:
        self.topics.add(f"{word}:{key[0]}/{key[1]}")
        return self._snapshot.get(kind, key)

    def _about(self, topic: str, kind: type[T]) -> Iterator[T]:
        self.topics.add(topic)
        return iter([fact for fact in self._snapshot.about(topic) if isinstance(fact, kind)])


_WORDS: dict[type, str] = {
    pods.Namespace: "namespace",
    pods.Node: "node",
    pods.Pod: "pod",
    services.Service: "service",
    policies.MeshTLS: "mesh-tls",
    policies.NetworkAuthentication: "network",
    profiles.Profile: "profile",
}


def _topics(fact: Fact) -> tuple[str, ...]:
    """What may be asked for that this fact is an answer to."""
    namespace = getattr(fact, "namespace", "")
    if isinstance(fact, services.Slice):
        return (f"slices:{namespace}/{fact.service}",)
    word = _WORDS.get(type(fact))
    if word is None:
        return (f"policy:{namespace}",)
    addresses: tuple[str, ...] = ()
    if isinstance(fact, pods.Pod):
        addresses = fact.ips
    elif isinstance(fact, services.Service):
        addresses = fact.cluster_ips
    return (f"{word}:{namespace}/{fact.name}", *(f"ip:{address}" for address in addresses))
