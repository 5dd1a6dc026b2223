"""
Which objects are a controller's: those of its own, and those that nobody has.

As Kubernetes' ControllerRefManager: what the selector takes and nobody controls is adopted, which
is how a Deployment that was deleted with `--cascade=orphan` finds its pods again; what the selector
takes no longer, since somebody changed a label to look at a pod in peace, is let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.embedded.controllers import pods as about

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.cluster.embedded.resources import Key
    from harness.cluster.embedded.store import Obj, Store

__all__ = ["candidates", "claimed"]


def claimed(
    store: Store, owner: Obj, kind: Key, *, adoptable: Callable[[Obj], bool] = lambda _: True
) -> list[Obj]:
    """The objects of a kind that `owner` controls, once it has adopted and let go."""
    own = []
    for obj in store.list(kind, owner["metadata"]["namespace"])[0]:
        controller = about.controller_uid(obj)
        taken = about.selects(owner["spec"]["selector"], obj)
        if controller == owner["metadata"]["uid"]:
            if taken or "deletionTimestamp" in obj["metadata"]:
                own.append(obj)
            else:
                _let_go(store, kind, obj, controller)
        elif not controller and taken and _stays(owner) and _stays(obj) and adoptable(obj):
            references = [*obj["metadata"].get("ownerReferences", ()), about.owner_reference(owner)]
            own.append(_with_owners(store, kind, obj, references))
    return own


def candidates(store: Store, obj: Obj, kind: Key) -> Iterator[Obj]:
    """Objects of a kind that could adopt this one; none when it has a controller."""
    if not about.controller_uid(obj):
        for owner in store.list(kind, obj["metadata"]["namespace"])[0]:
            if about.selects(owner["spec"]["selector"], obj):
                yield owner


def _let_go(store: Store, kind: Key, obj: Obj, controller: str) -> None:
    references = obj["metadata"]["ownerReferences"]
    _with_owners(store, kind, obj, [each for each in references if each["uid"] != controller])


def _with_owners(store: Store, kind: Key, obj: Obj, references: list[Obj]) -> Obj:
    return store.update(
        kind, {**obj, "metadata": {**obj["metadata"], "ownerReferences": references}}
    )


def _stays(obj: Obj) -> bool:
    return "deletionTimestamp" not in obj["metadata"]
