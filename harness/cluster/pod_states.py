"""What keeps pods from being ready, and what to do about it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from harness.errors import EnvironmentLacks, NotInTime, PodFailed
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from lightkube.models.core_v1 import (
        ContainerStateTerminated,
        ContainerStateWaiting,
        ContainerStatus,
    )
    from lightkube.resources.core_v1 import Pod

    _Held = ContainerStateWaiting | ContainerStateTerminated

__all__ = ["READY", "advice", "image_lack_told", "require_hope", "state", "until_ready"]

READY = "Ready"

_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
_NEVER = ("ErrImageNeverPull", "InvalidImageName")
"""With these the node does not try: another image must be loaded, or named."""

_SAY_ALL = ("ContainerCreating", "PodInitializing", "Completed", "CrashLoopBackOff")
"""The message to these tells nothing more."""


def until_ready(
    observe: Callable[[], Sequence[Pod]],
    *,
    number: int,
    what: str,
    timeout_s: float,
    namespace: str,
    log: Callable[[str], str] = lambda _: "",
) -> None:
    """
    Return when there are `number` pods, all of them ready.

    observe: lists them. what: names them, for errors. log: the last lines of a pod's log.

    Raises:
        PodFailed: one ended for good, which tells its log, or can never start; at once.
        NotInTime: not all were ready within `timeout_s`; tells what each waited for.
        EnvironmentLacks: so it was, and nodes lack an image.

    """
    seen: list[Pod] = []

    def states() -> dict[str, str]:
        seen[:] = observe()
        require_hope(seen)
        found = {_name(pod): state(pod) for pod in seen}
        for name, told in found.items():
            if told.startswith("Failed"):
                raise PodFailed(f"pod {namespace}/{name}: {told}\n{log(name)}")
        return found

    with image_lack_told(seen):
        until(
            states,
            what=what,
            holds=lambda found: list(found.values()).count(READY) == number == len(found),
            timeout_s=timeout_s,
            hint=lambda: f"Look closer: kubectl -n {namespace} describe pods{advice(seen)}",
        )


def state(pod: Pod) -> str:
    """`Ready`, or what keeps the pod from it: of each container why it waits, and its image."""
    status = pod.status
    if status is None:
        return "no status"
    if status.phase == "Failed":
        return f"Failed: {status.reason or ''} {status.message or ''}".strip()
    if any(c.type == "Ready" and c.status == "True" for c in status.conditions or []):
        return READY
    waiting = [f"{each.name}: {_told(each, why)}" for each, why in _held(pod)]
    return f"{status.phase}, {', '.join(waiting) or 'not ready'}"


def require_hope(pods: Iterable[Pod]) -> None:
    """
    Make sure that every container may still start.

    Raises:
        PodFailed: the node will not even try to get its image; says which, and what to do.

    """
    for pod in pods:
        if any(why.reason in _NEVER for _, why in _held(pod)):
            namespace = (pod.metadata and pod.metadata.namespace) or ""
            raise PodFailed(f"pod {namespace}/{_name(pod)}: {state(pod)}{advice([pod])}")


@contextlib.contextmanager
def image_lack_told(pods: Collection[Pod]) -> Iterator[None]:
    """
    A wait that ends too late for want of images says nothing of the mesh: it is the cluster's lack.

    pods: those that were waited for, as they were seen last. One that is late for another reason
        is what counts.
    """
    try:
        yield
    except NotInTime as late:
        held = [pod for pod in pods if state(pod) != READY]
        if not held or not all(advice([pod]) for pod in held):
            raise
        raise EnvironmentLacks(str(late)) from late


def advice(pods: Iterable[Pod]) -> str:
    """What to do about images that nodes lack, a line for all of them; empty when none is."""
    lacking = {each.image for pod in pods for each, why in _held(pod) if why.reason in _NO_IMAGE}
    if not lacking:
        return ""
    return (
        f"\nNodes lack {', '.join(sorted(lacking))}. `meshmark images build --out FOLDER` makes "
        "those of meshmark, with `--previous REF` also those of the build that upgrades start "
        "from; load them into every node, as by `kind load image-archive FILE --name "
        "CLUSTER` or `ctr -n k8s.io images import FILE`, or push them where nodes can pull them"
    )


def _held(pod: Pod) -> Iterator[tuple[ContainerStatus, _Held]]:
    """The containers that wait or have ended, with why."""
    status = pod.status
    if status is None:
        return
    for each in (*(status.initContainerStatuses or ()), *(status.containerStatuses or ())):
        why = each.state and (each.state.waiting or each.state.terminated)
        if why:
            yield each, why


def _told(container: ContainerStatus, why: _Held) -> str:
    if why.reason in _SAY_ALL or not why.message:
        return why.reason or "waits"
    return f"{why.reason}: {why.message} (image {container.image})"


def _name(pod: Pod) -> str:
    return (pod.metadata and pod.metadata.name) or ""
