"""
The environment of a container, from its pod's specification and the objects that it names.

Order and rules are the kubelet's: service addresses, then `envFrom`, then `env`, later ones
winning; `$(NAME)` means an earlier variable, `$$` a dollar sign, anything else stays as it is.
"""

from __future__ import annotations

import base64
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.status import NotFound
from harness.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cluster.embedded.store import Obj, Store

__all__ = ["ConfigMissing", "Sources", "environment", "expand", "field", "parse_quantity"]

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"^(metadata\.(?:labels|annotations))\['([^']+)'\]$")
_SCALES: dict[str, Decimal | int] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(
    r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)([A-Za-z]{0,2})$"
)


class ConfigMissing(ClusterError):
    """An object or key that a pod names is not there (yet)."""


class Sources:
    """Reads config maps and secrets for one pod; remembers which, so that changes can be seen."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self.used: set[tuple[str, str]] = set()

    def config_map(self, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Content by key. None when it may be missing and is. Raises ConfigMissing."""
        found = self._object("configmaps", "configmap", name, optional=optional)
        if found is None:
            return None
        binary = {key: base64.b64decode(text) for key, text in _of(found, "binaryData").items()}
        return binary | {key: text.encode() for key, text in _of(found, "data").items()}

    def secret(self, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Content by key, decoded. None when it may be missing and is. Raises ConfigMissing."""
        found = self._object("secrets", "secret", name, optional=optional)
        if found is None:
            return None
        return {key: base64.b64decode(text) for key, text in _of(found, "data").items()}

    def services(self) -> list[Obj]:
        """The services whose addresses a pod of this namespace gets."""
        items, _ = self._store.list(("", "services"), self._namespace)
        return items

    def _object(self, plural: str, kind: str, name: str, *, optional: bool) -> Obj | None:
        self.used.add((plural, name))
        try:
            return self._store.peek(("", plural), self._namespace, name)
        except NotFound:
            if optional:
                return None
            raise ConfigMissing(f'{kind} "{name}" not found in {self._namespace}') from None


def environment(
    pod: Obj, container: Obj, sources: Sources, image_env: Mapping[str, str]
) -> dict[str, str]:
    """
    Everything that the container's process gets.

    pod: with `status.podIP` and `status.hostIP` set.

    Raises:
        ConfigMissing: something that must be there is not.

    """
    env = dict(image_env)
    if pod["spec"].get("enableServiceLinks", True):
        for service in sources.services():
            env |= _service_links(service)
    env |= {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    env |= {"KUBERNETES_SERVICE_PORT_HTTPS": "443", "HOSTNAME": hostname(pod)}
    for each in container.get("envFrom") or ():
        prefix = each.get("prefix", "")
        for key, content in _whole(each, sources).items():
            env[prefix + key] = content.decode(errors="replace")
    for each in container.get("env") or ():
        if "valueFrom" in each:
            value = _value_from(pod, container, each["valueFrom"], sources)
            if value is not None:
                env[each["name"]] = value
        else:
            env[each["name"]] = expand(each.get("value") or "", env)
    return env


def hostname(pod: Obj) -> str:
    """What the pod calls itself."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known, and `$$` by a dollar sign."""

    def put(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _REFERENCE.sub(put, text)


def field(pod: Obj, container: Obj, path: str) -> str:
    """
    A field of the pod as the downward API shows it; maps as sorted `key="value"` lines.

    Raises:
        ConfigMissing: the downward API has no such field.

    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        values = metadata.get(subscript[1].partition(".")[2]) or {}
        return str(values.get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        values = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(values.items()))
    plain = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": status.get("hostIP", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
    }
    if path not in plain:
        raise ConfigMissing(f"container {container.get('name')}: no field {path!r} to refer to")
    return str(plain[path])


def resource_field(pod: Obj, container: Obj, reference: Obj) -> str:
    """A limit or request as a whole number of its divisor, rounded up; the node's when unset."""
    named = reference.get("containerName")
    for other in pod["spec"].get("initContainers") or []:
        container = other if other["name"] == named else container
    for other in pod["spec"]["containers"]:
        container = other if other["name"] == named else container
    which, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(which) or {}).get(name)
    if value is None and which == "requests":
        value = (resources.get("limits") or {}).get(name)
    if value is None:
        value = {"cpu": str(_cores()), "memory": str(_memory_bytes())}.get(name, "0")
    # A divisor of 0 is how the API shows one that was not given.
    ratio = parse_quantity(value) / (parse_quantity(reference.get("divisor") or "1") or 1)
    return str(int(ratio.to_integral_value("ROUND_CEILING")))


def parse_quantity(text: Any) -> Decimal:
    """A Kubernetes quantity (`250m`, `64Mi`) as a number. Raises ConfigMissing."""
    match = _QUANTITY.match(str(text))
    if match is None or match[2] not in _SCALES:
        raise ConfigMissing(f"{text!r} is not a quantity such as 250m or 64Mi")
    return Decimal(match[1]) * _SCALES[match[2]]


def _value_from(pod: Obj, container: Obj, source: Obj, sources: Sources) -> str | None:
    if "fieldRef" in source:
        return field(pod, container, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(pod, container, source["resourceFieldRef"])
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    optional = bool(reference.get("optional"))
    read = sources.config_map if "configMapKeyRef" in source else sources.secret
    content = read(reference["name"], optional=optional)
    if content is None:
        return None
    if reference["key"] not in content:
        if optional:
            return None
        raise ConfigMissing(f'key "{reference["key"]}" not found in "{reference["name"]}"')
    return content[reference["key"]].decode(errors="replace")


def _whole(each: Obj, sources: Sources) -> dict[str, bytes]:
    reference = each.get("configMapRef") or each["secretRef"]
    read = sources.config_map if "configMapRef" in each else sources.secret
    return read(reference["name"], optional=bool(reference.get("optional"))) or {}


def _service_links(service: Obj) -> dict[str, str]:
    address = service["spec"].get("clusterIP")
    ports = service["spec"].get("ports") or []
    if not address or address == "None" or not ports:
        return {}
    prefix = service["metadata"]["name"].upper().replace("-", "_") + "_SERVICE_"
    links = {f"{prefix}HOST": address, f"{prefix}PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            links[f"{prefix}PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    return links


def _of(obj: Obj, key: str) -> dict[str, str]:
    return obj.get(key) or {}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
