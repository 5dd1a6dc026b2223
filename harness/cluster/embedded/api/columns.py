"""The columns that built-in kinds are listed with: those of kubectl 1.34 on a real cluster."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api.pod_phase import pod_phase, ready_of, restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.cluster.embedded.resources import Key
    from harness.cluster.embedded.store import Obj

__all__ = ["DEFAULT", "NAME", "Column", "age", "duration", "of"]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what stands under it. Priority 1 is shown by `-o wide` only."""

    name: str
    cell: Callable[[Obj], Any]
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""

    def definition(self) -> dict[str, Any]:
        """The column in a Table's `columnDefinitions`."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def of(kind: Key) -> Sequence[Column]:
    """The columns of a built-in kind; name and age where it has none of its own."""
    return _BY_KIND.get(kind, DEFAULT)


def age(timestamp: str | None) -> str:
    """How long ago, as kubectl words it: `12s`, `3m4s`, `5h`, `7d`."""
    if not timestamp:
        return "<unknown>"
    try:
        then = dt.datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    return duration((dt.datetime.now(dt.UTC) - then).total_seconds())


def duration(seconds: float) -> str:
    """A duration in at most two units."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    scales = (
        (whole < 120, f"{whole}s", ""),
        (minutes < 10, f"{minutes}m", f"{whole % 60}s"),
        (hours < 3, f"{minutes}m", ""),
        (hours < 8, f"{hours}h", f"{minutes % 60}m"),
        (hours < 48, f"{hours}h", ""),
        (days < 8, f"{days}d", f"{hours % 24}h"),
        (days < 730, f"{days}d", ""),
    )
    for fits, coarse, fine in scales:
        if fits:
            return coarse if fine.startswith("0") else coarse + fine
    return f"{days // 365}y"


def _name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Obj) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


NAME = Column("Name", _name, format="name")
_AGE = Column("Age", _age)
DEFAULT = (NAME, _AGE)
_CREATED = Column("Created At", lambda obj: obj["metadata"].get("creationTimestamp"), "date")


def _at(*path: str, default: Any = "") -> Callable[[Obj], Any]:
    def cell(obj: Obj) -> Any:
        value: Any = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return default if value is None else value

    return cell


def _count(*path: str) -> Callable[[Obj], int]:
    at = _at(*path, default=())
    return lambda obj: len(at(obj))


def _share(have: Callable[[Obj], Any], want: Callable[[Obj], Any]) -> Callable[[Obj], str]:
    return lambda obj: f"{have(obj)}/{want(obj)}"


def _pairs(pairs: Mapping[str, Any] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((pairs or {}).items())) or "<none>"


def _selector(obj: Obj) -> str:
    selector = (obj.get("spec") or {}).get("selector") or {}
    return _pairs(selector.get("matchLabels", {}) if "matchLabels" in selector else selector)


def _containers(field: str) -> Callable[[Obj], str]:
    def cell(obj: Obj) -> str:
        spec = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
        return ",".join(one.get(field, "") for one in spec.get("containers") or ())

    return cell


def _ports(obj: Obj) -> str:
    shown = []
    for port in (obj.get("spec") or {}).get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _external(obj: Obj) -> str:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", "<none>"))
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    named = [one.get("ip") or one.get("hostname", "") for one in given]
    named += spec.get("externalIPs") or []
    pending = "<pending>" if spec.get("type") == "LoadBalancer" else "<none>"
    return ",".join(named) or pending


def _addresses(obj: Obj) -> str:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return (",".join(shown[:3]) + more) or "<none>"


def _slice_addresses(obj: Obj) -> str:
    shown = [address for one in obj.get("endpoints") or () for address in one["addresses"]]
    more = f" + {len(shown) - 3} more..." if len(shown) > 3 else ""
    return (",".join(shown[:3]) + more) or "<unset>"


def _slice_ports(obj: Obj) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or ()) or "<unset>"


def _node_status(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = next((one["status"] for one in conditions if one["type"] == "Ready"), "Unknown")
    status = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    cordoned = (obj.get("spec") or {}).get("unschedulable")
    return f"{status},SchedulingDisabled" if cordoned else status


def _roles(obj: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return ",".join(key[len(prefix) :] for key in labels if key.startswith(prefix)) or "<none>"


def _node_address(obj: Obj) -> str:
    addresses = (obj.get("status") or {}).get("addresses") or ()
    return next((one["address"] for one in addresses if one["type"] == "InternalIP"), "<none>")


def _last_seen(obj: Obj) -> str:
    seen = obj.get("lastTimestamp") or obj.get("eventTime") or obj["metadata"]["creationTimestamp"]
    return age(seen)


def _involved(obj: Obj) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _role_reference(obj: Obj) -> str:
    reference = obj.get("roleRef") or {}
    return f"{reference.get('kind')}/{reference.get('name')}"


def _job_status(obj: Obj) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ended = [one["type"] for one in conditions if one["status"] == "True"]
    return str(ended[0]) if ended else "Running"


def _job_duration(obj: Obj) -> str:
    status = obj.get("status") or {}
    if "startTime" not in status:
        return ""
    start = dt.datetime.fromisoformat(status["startTime"])
    end = dt.datetime.now(dt.UTC)
    if "completionTime" in status:
        end = dt.datetime.fromisoformat(status["completionTime"])
    return duration((end - start).total_seconds())


def _integer(name: str, *path: str) -> Column:
    return Column(name, _at(*path, default=0), "integer")


_WORKLOAD_WIDE = (
    Column("Containers", _containers("name"), priority=1),
    Column("Images", _containers("image"), priority=1),
    Column("Selector", _selector, priority=1),
)
_DESIRED = _at("spec", "replicas", default=0)
_READY = _at("status", "readyReplicas", default=0)
_DATA = Column("Data", lambda obj: len(obj.get("data") or {}) + len(obj.get("binaryData") or {}))
_HOOKS = (NAME, Column("Webhooks", _count("webhooks"), "integer"), _AGE)
_BINDINGS = (NAME, Column("Role", _role_reference), _AGE)
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"

_BY_KIND: dict[Key, tuple[Column, ...]] = {
    ("", "pods"): (
        NAME,
        Column("Ready", ready_of),
        Column("Status", pod_phase),
        Column("Restarts", restarts),
        _AGE,
        Column("IP", _at("status", "podIP", default="<none>"), priority=1),
        Column("Node", _at("spec", "nodeName", default="<none>"), priority=1),
        Column("Nominated Node", _at("status", "nominatedNodeName", default="<none>"), priority=1),
        Column("Readiness Gates", lambda _: "<none>", priority=1),
    ),
    ("", "services"): (
        NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", _at("spec", "clusterIP", default="<none>")),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        _AGE,
        Column("Selector", _selector, priority=1),
    ),
    ("", "namespaces"): (NAME, Column("Status", _at("status", "phase")), _AGE),
    ("", "nodes"): (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _roles),
        _AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _node_address, priority=1),
        Column("OS-Image", _at("status", "nodeInfo", "osImage"), priority=1),
        Column("Kernel-Version", _at("status", "nodeInfo", "kernelVersion"), priority=1),
    ),
    ("", "configmaps"): (NAME, _DATA, _AGE),
    ("", "secrets"): (NAME, Column("Type", _at("type")), _DATA, _AGE),
    ("", "serviceaccounts"): (NAME, Column("Secrets", _count("secrets"), "integer"), _AGE),
    ("", "endpoints"): (NAME, Column("Endpoints", _addresses), _AGE),
    ("", "events"): (
        Column("Last Seen", _last_seen),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _involved),
        Column("Message", _at("message")),
        Column("Name", _name, priority=1),
    ),
    ("apps", "deployments"): (
        NAME,
        Column("Ready", _share(_READY, _DESIRED)),
        _integer("Up-to-date", "status", "updatedReplicas"),
        _integer("Available", "status", "availableReplicas"),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "replicasets"): (
        NAME,
        _integer("Desired", "spec", "replicas"),
        _integer("Current", "status", "replicas"),
        _integer("Ready", "status", "readyReplicas"),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "statefulsets"): (NAME, Column("Ready", _share(_READY, _DESIRED)), _AGE),
    ("apps", "daemonsets"): (
        NAME,
        _integer("Desired", "status", "desiredNumberScheduled"),
        _integer("Current", "status", "currentNumberScheduled"),
        _integer("Ready", "status", "numberReady"),
        _integer("Up-to-date", "status", "updatedNumberScheduled"),
        _integer("Available", "status", "numberAvailable"),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    ("batch", "jobs"): (
        NAME,
        Column("Status", _job_status),
        Column(
            "Completions",
            _share(_at("status", "succeeded", default=0), _at("spec", "completions", default=1)),
        ),
        Column("Duration", _job_duration),
        _AGE,
    ),
    ("batch", "cronjobs"): (NAME, Column("Schedule", _at("spec", "schedule")), _AGE),
    ("coordination.k8s.io", "leases"): (
        NAME,
        Column("Holder", _at("spec", "holderIdentity")),
        _AGE,
    ),
    ("discovery.k8s.io", "endpointslices"): (
        NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_addresses),
        _AGE,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (NAME, _CREATED),
    (_ADMISSION, "mutatingwebhookconfigurations"): _HOOKS,
    (_ADMISSION, "validatingwebhookconfigurations"): _HOOKS,
    (_RBAC, "clusterroles"): (NAME, _CREATED),
    (_RBAC, "roles"): (NAME, _CREATED),
    (_RBAC, "clusterrolebindings"): _BINDINGS,
    (_RBAC, "rolebindings"): _BINDINGS,
}
