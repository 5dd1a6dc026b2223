"""
The status of a pod, computed from what its containers are doing.

Phases and conditions are those of
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/. A function of its arguments
alone, so that it can be tested without a pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.container_runner import Role
from harness.cluster.embedded.quality import quality_of
from harness.cluster.embedded.store import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cluster.embedded.container_runner import ContainerRunner
    from harness.cluster.embedded.store import Obj

__all__ = ["compute"]


def compute(
    pod: Obj,
    runners: Sequence[ContainerRunner],
    *,
    address: str,
    host_address: str,
    finished: bool,
    failure: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """
    The status that the pod should have now.

    pod: as stored; its present conditions keep their transition times.
    finished: all that will ever run in it has ended.
    failure: reason and message, when it is the node that ended the pod.
    """
    old = pod.get("status") or {}
    mains = [runner for runner in runners if runner.role is Role.MAIN]
    inits = [runner for runner in runners if runner.role is not Role.MAIN]
    initialized = all(_has_passed(runner) for runner in inits)
    phase = _phase(runners, initialized=initialized, finished=finished)
    if finished and failure is not None:
        phase = "Failed"
    status: dict[str, Any] = {
        **old,
        "phase": phase,
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "startTime": old.get("startTime") or timestamp(),
        "qosClass": quality_of(pod["spec"]),
        "conditions": _conditions(pod, runners, phase=phase, initialized=initialized),
        "containerStatuses": [_container(runner) for runner in mains],
    }
    if inits:
        status["initContainerStatuses"] = [_container(runner) for runner in inits]
    if failure is not None:
        status["reason"], status["message"] = failure
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _has_passed(runner: ContainerRunner) -> bool:
    """Whether an init container lets the next one start."""
    if runner.role is Role.SIDECAR:
        return runner.started
    return runner.exit_code == 0 and "terminated" in runner.state


def _phase(runners: Sequence[ContainerRunner], *, initialized: bool, finished: bool) -> str:
    if finished:
        ended = [runner for runner in runners if runner.role is not Role.SIDECAR]
        return "Succeeded" if all(each.exit_code == 0 for each in ended) else "Failed"
    mains = [runner for runner in runners if runner.role is Role.MAIN]
    begun = all(runner.identity for runner in mains)
    # Once a main container ran, the pod stays Running, whatever its sidecars do.
    return "Running" if begun and (initialized or any(each.log for each in mains)) else "Pending"


def _conditions(
    pod: Obj, runners: Sequence[ContainerRunner], *, phase: str, initialized: bool
) -> list[dict[str, Any]]:
    old = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    unready = [
        runner.name for runner in runners if runner.role is not Role.INIT and not runner.ready
    ]
    if phase == "Succeeded":
        why = {"reason": "PodCompleted"}
    else:
        text = f"containers with unready status: [{' '.join(unready)}]"
        why = {"reason": "ContainersNotReady", "message": text}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    shut = [gate for gate in gates if (old.get(gate) or {}).get("status") != "True"]
    incomplete = [each.name for each in runners if each.role is not Role.MAIN]
    begun = not incomplete or initialized or phase in {"Running", "Succeeded"}
    wanted: list[tuple[str, bool, dict[str, str]]] = [
        ("PodReadyToStartContainers", phase == "Running" or bool(runners), {}),
        (
            "Initialized",
            begun,
            {
                "reason": "ContainersNotInitialized",
                "message": f"containers with incomplete status: [{' '.join(incomplete)}]",
            },
        ),
        (
            "Ready",
            not unready and not shut,
            why
            if unready
            else {
                "reason": "ReadinessGatesNotReady",
                "message": f"the status of pod readiness gates is not True: {' '.join(shut)}",
            },
        ),
        ("ContainersReady", not unready, why),
        ("PodScheduled", True, {}),
    ]
    kept = [each for name, each in old.items() if name not in {name for name, _, _ in wanted}]
    return [_condition(old.get(name), name, holds, why) for name, holds, why in wanted] + kept


def _condition(old: Obj | None, name: str, holds: bool, why: dict[str, str]) -> dict[str, Any]:
    status = "True" if holds else "False"
    since = timestamp()
    if old is not None and old["status"] == status:
        since = old.get("lastTransitionTime") or since
    condition = {
        "type": name,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    return condition if holds else condition | why


def _container(runner: ContainerRunner) -> dict[str, Any]:
    image = runner.spec["image"]
    status: dict[str, Any] = {
        "name": runner.name,
        "image": image,
        "imageID": image,
        "ready": _has_passed(runner) if runner.role is Role.INIT else runner.ready,
        "started": runner.started,
        "restartCount": runner.restarts,
        "state": runner.state,
        "lastState": runner.last_state,
    }
    if runner.identity:
        status["containerID"] = runner.identity
    return status
