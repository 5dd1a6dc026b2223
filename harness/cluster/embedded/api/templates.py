"""Rules of a pod's spec, wherever it stands: in a pod, or in the template of a workload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.status import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.embedded.store import Obj

__all__ = ["template_causes"]

_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_PORT_NAME = re.compile(r"^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$")
_QUANTITY = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([EPTGMk]i?|Ki|[munp]|[eE][+-]?\d+)?$")
_CHOICES = {
    "restartPolicy": ("Always", "OnFailure", "Never"),
    "dnsPolicy": ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
}
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def template_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """
    What is wrong with a pod's spec.

    at: path of the spec in its object.
    """
    for field, choices in _CHOICES.items():
        if field in spec and spec[field] not in choices:
            yield _unsupported(f"{at}.{field}", spec[field], choices)
    if not spec.get("containers"):
        yield _required(f"{at}.containers")
    volumes = list(_named(spec.get("volumes") or (), f"{at}.volumes"))
    yield from (one for one in volumes if isinstance(one, Cause))
    known = {one for one in volumes if isinstance(one, str)}
    taken: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            where = f"{at}.{group}[{index}]"
            yield from _container_causes(container, where, known)
            yield from _sleep_causes(container, where, spec.get("terminationGracePeriodSeconds"))
            name = container.get("name")
            if name in taken:
                yield Cause(f"{where}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
            taken.add(name)
            policy = container.get("restartPolicy")
            if policy is not None and (group == "containers" or policy != "Always"):
                yield _unsupported(f"{where}.restartPolicy", policy, ("Always",))


def _container_causes(container: Obj, at: str, volumes: set[str]) -> Iterator[Cause]:
    name = container.get("name")
    if not name:
        yield _required(f"{at}.name")
    elif not _DNS_LABEL.match(name):
        yield _invalid(f"{at}.name", name, "a lowercase RFC 1123 label is required")
    if not container.get("image"):
        yield _required(f"{at}.image")
    policies = ("Always", "IfNotPresent", "Never")
    if container.get("imagePullPolicy") not in policies:
        yield _unsupported(f"{at}.imagePullPolicy", container.get("imagePullPolicy"), policies)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            message = f'Not found: "{mount.get("name")}"'
            yield Cause(f"{at}.volumeMounts[{index}].name", message, "FieldValueNotFound")
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield _required(f"{at}.env[{index}].name")
        if variable.get("value") and variable.get("valueFrom"):
            message = "may not be specified when `value` is not empty"
            yield _invalid(f"{at}.env[{index}].valueFrom", "", message)
    yield from _port_causes(container.get("ports") or (), f"{at}.ports")
    yield from _probe_causes(container, at)
    yield from _resource_causes(container.get("resources") or {}, f"{at}.resources")


def _named(items: Any, at: str) -> Iterator[str | Cause]:
    """The names of items, and a cause for each that is missing or there twice."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name")
        if not name:
            yield _required(f"{at}[{index}].name")
            continue
        if name in seen:
            message = f'Duplicate value: "{name}"'
            yield Cause(f"{at}[{index}].name", message, "FieldValueDuplicate")
        seen.add(name)
        yield name


def _port_causes(ports: Any, at: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        number = port.get("containerPort")
        if isinstance(number, int) and not 1 <= number <= 65535:
            message = "must be between 1 and 65535, inclusive"
            yield _invalid(f"{at}[{index}].containerPort", number, message)
        name = port.get("name")
        if name is None:
            continue
        if not _PORT_NAME.match(name):
            message = "must be 1-15 lower case letters, digits or '-', with at least one letter"
            yield _invalid(f"{at}[{index}].name", name, message)
        if name in names:
            message = f'Duplicate value: "{name}"'
            yield Cause(f"{at}[{index}].name", message, "FieldValueDuplicate")
        names.add(name)


def _probe_causes(container: Obj, at: str) -> Iterator[Cause]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        handlers = [one for one in _HANDLERS if probe.get(one) is not None]
        if not handlers:
            message = "Required value: must specify a handler type"
            yield Cause(f"{at}.{name}", message, "FieldValueRequired")
        if len(handlers) > 1:
            message = "Forbidden: may not specify more than 1 handler type"
            yield Cause(f"{at}.{name}.{handlers[1]}", message, "FieldValueForbidden")


def _sleep_causes(container: Obj, at: str, grace_s: int | None) -> Iterator[Cause]:
    for name, handler in (container.get("lifecycle") or {}).items():
        sleep = (handler or {}).get("sleep")
        if sleep is None or grace_s is None:
            continue
        if not 0 < sleep["seconds"] <= grace_s:
            rule = f"must be greater than 0 and less than terminationGracePeriodSeconds ({grace_s})"
            yield _invalid(f"{at}.lifecycle.{name}.sleep", sleep["seconds"], rule)


def _resource_causes(resources: Obj, at: str) -> Iterator[Cause]:
    for group in ("limits", "requests"):
        for name, quantity in (resources.get(group) or {}).items():
            if not _QUANTITY.match(quantity):
                message = "quantities must match the regular expression of resource.Quantity"
                yield _invalid(f"{at}.{group}.{name}", quantity, message)


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _invalid(field: str, value: Any, rule: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause(field, f"Invalid value: {shown}: {rule}")


def _unsupported(field: str, value: Any, choices: tuple[str, ...]) -> Cause:
    listed = ", ".join(f'"{choice}"' for choice in choices)
    message = f'Unsupported value: "{value}": supported values: {listed}'
    return Cause(field, message, "FieldValueNotSupported")
