"""How a pod is doing, in the one word that kubectl shows for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cluster.embedded.store import Obj

__all__ = ["pod_phase", "ready_of", "restarts"]


def pod_phase(pod: Obj) -> str:
    """Running, Pending, Init:0/2, CrashLoopBackOff, Completed, Terminating, and so on."""
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    status = pod.get("status") or {}
    waiting = _init_phase(pod, status)
    if waiting:
        return waiting
    phase = str(status.get("reason") or status.get("phase") or "Unknown")
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        told = _told(state)
        if told:
            phase = told
        elif "running" in state and container.get("ready"):
            running = True
    if phase == "Completed" and running:
        return "Running" if _is_ready(status) else "NotReady"
    return phase


def ready_of(pod: Obj) -> str:
    """Ready containers out of all, native sidecars among them."""
    sidecars = _sidecars(pod)
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    shown = [
        *(status.get("containerStatuses") or ()),
        *(one for one in status.get("initContainerStatuses") or () if one["name"] in sidecars),
    ]
    total = len(spec.get("containers") or ()) + len(sidecars)
    return f"{sum(1 for one in shown if one.get('ready'))}/{total}"


def restarts(pod: Obj) -> str:
    """How often containers were started again; those of init containers that are done left out."""
    sidecars = _sidecars(pod)
    status = pod.get("status") or {}
    shown = [
        *(status.get("containerStatuses") or ()),
        *(one for one in status.get("initContainerStatuses") or () if one["name"] in sidecars),
    ]
    return str(sum(one.get("restartCount", 0) for one in shown))


def _sidecars(pod: Obj) -> set[str]:
    containers = (pod.get("spec") or {}).get("initContainers") or ()
    return {one["name"] for one in containers if one.get("restartPolicy") == "Always"}


def _init_phase(pod: Obj, status: Obj) -> str:
    """What init containers hold the pod up with, or nothing."""
    sidecars = _sidecars(pod)
    containers = (pod.get("spec") or {}).get("initContainers") or ()
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            continue
        told = _told(state)
        if told and told != "PodInitializing":
            return f"Init:{told}"
        return f"Init:{index}/{len(containers)}"
    return ""


def _told(state: Any) -> str:
    """Why a container is not running, in a word."""
    if state.get("waiting", {}).get("reason"):
        return str(state["waiting"]["reason"])
    ended = state.get("terminated")
    if ended is None:
        return ""
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode')}"


def _is_ready(status: Obj) -> bool:
    conditions = status.get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
