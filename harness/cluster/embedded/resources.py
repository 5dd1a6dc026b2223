"""
What a kind is to the embedded API server, and which there are.

Those built in are listed in `kinds`; CRDs add and remove others. A kind is named by its key,
`(group, plural)`, for instance `("apps", "deployments")` or `("", "pods")`. An object is stored
once, in the first of its kind's versions; where a kind is served in several versions (only CRDs
are) they differ in `apiVersion` alone.
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

_Verbs = NewType("_Verbs", tuple[str, ...])

ALL_VERBS = _Verbs(
    ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
)
CREATE_ONLY = _Verbs(("create",))


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
    verbs: _Verbs = ALL_VERBS
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

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_key = {resource.key: resource for resource in resources}

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
