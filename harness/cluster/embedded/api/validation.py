"""
Rules of built-in kinds beyond their types: names, references within an object, what cannot change.

Not all that Kubernetes checks: what a mistyped manifest of a mesh or an application runs into.
Wordings are those of k8s.io/apimachinery's field errors.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.api import schemas
from harness.cluster.embedded.api.templates import template_causes
from harness.cluster.embedded.kinds import BUILT_IN
from harness.cluster.embedded.selectors import label_selector_matches
from harness.cluster.embedded.status import Cause, NotImplementedHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.cluster.embedded.resources import Key, Resource
    from harness.cluster.embedded.store import Obj

__all__ = ["causes", "metadata_causes"]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(f"^{_LABEL}$")
_SUBDOMAIN = re.compile(rf"^{_LABEL}(\.{_LABEL})*$")
_QUALIFIED = re.compile(rf"^({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_PATH_NAME = re.compile(r"^[^/%]+$")
_ANNOTATIONS_LIMIT_BYTES = 256 * 1024

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_BUILT_IN_KEYS = {resource.key for resource in BUILT_IN}
_NAMED_BY_LABEL = {("", "namespaces"), ("", "services")}
_FREELY_NAMED_GROUP = "rbac.authorization.k8s.io"


def metadata_causes(resource: Resource, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with names, labels and annotations of an object of any kind."""
    name = metadata.get("name")
    if name is not None:
        yield from _name_causes(resource, name)
    for key, value in (metadata.get("labels") or {}).items():
        yield from _key_causes(key, "metadata.labels")
        if not _LABEL_VALUE.match(value) or len(value) > 63:
            rule = (
                "a valid label must be an empty string or consist of alphanumeric characters, '-', "
                "'_' or '.', and must start and end with an alphanumeric character, with at most "
                "63 characters"
            )
            yield Cause("metadata.labels", f'Invalid value: "{value}": {rule}')
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _key_causes(key.lower(), "metadata.annotations")
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT_BYTES:
        message = f"Too long: may not be more than {_ANNOTATIONS_LIMIT_BYTES} bytes"
        yield Cause("metadata.annotations", message, "FieldValueTooLong")
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield _required(f"metadata.ownerReferences[{index}].{field}")


def causes(resource: Resource, obj: Obj, old: Obj | None) -> list[Cause]:
    """
    What is wrong with an object of a built-in kind, with what it was before where there is that.

    Raises:
        NotImplementedHere: it asks for what this engine does not support.

    """
    check = _BY_KIND.get(resource.key)
    return [] if check is None else list(check(obj, old))


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _name_causes(resource: Resource, name: str) -> Iterator[Cause]:
    if resource.group == _FREELY_NAMED_GROUP:
        if not _PATH_NAME.match(name):
            yield Cause("metadata.name", f"Invalid value: \"{name}\": may not contain '/' or '%'")
        return
    pattern, rule, limit = _SUBDOMAIN, _SUBDOMAIN_RULE, 253
    if resource.key in _NAMED_BY_LABEL:
        pattern, rule, limit = _DNS_LABEL, _LABEL_RULE, 63
    if not pattern.match(name) or len(name) > limit:
        yield Cause("metadata.name", f'Invalid value: "{name}": {rule}')


def _key_causes(key: str, field: str) -> Iterator[Cause]:
    if not _QUALIFIED.match(key) or len(key.rpartition("/")[2]) > 63:
        rule = (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character"
        )
        yield Cause(field, f'Invalid value: "{key}": {rule}')


def _pod(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    yield from template_causes(obj["spec"], "spec")
    if old is None or "spec" not in old:
        return
    if _fixed_pod_spec(obj["spec"]) != _fixed_pod_spec(old["spec"]):
        rule = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`, "
            "`spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, "
            "`spec.terminationGracePeriodSeconds` and `spec.tolerations`"
        )
        yield Cause("spec", rule, "FieldValueForbidden")


def _fixed_pod_spec(spec: Obj) -> Obj:
    changeable = {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"}
    fixed = {name: value for name, value in spec.items() if name not in changeable}
    for name in ("containers", "initContainers"):
        fixed[name] = [{**one, "image": ""} for one in spec.get(name) or ()]
    return fixed


def _workload(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = obj["spec"]
    template = spec.get("template")
    if isinstance(template, dict):
        yield from template_causes(template["spec"], "spec.template.spec")
        if template["spec"].get("restartPolicy") != "Always":
            shown = template["spec"].get("restartPolicy")
            message = f'Unsupported value: "{shown}": supported values: "Always"'
            field = "spec.template.spec.restartPolicy"
            yield Cause(field, message, "FieldValueNotSupported")
    yield from _selector_causes(spec, template)
    if (spec.get("replicas") or 0) < 0:
        message = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        yield Cause("spec.replicas", message)
    if old is not None and spec.get("selector") != (old.get("spec") or {}).get("selector"):
        yield Cause("spec.selector", "Invalid value: field is immutable")


def _selector_causes(spec: Obj, template: Any) -> Iterator[Cause]:
    selector = spec.get("selector")
    if not isinstance(selector, dict) or not isinstance(template, dict):
        return  # Reported as missing.
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield Cause("spec.selector", "Invalid value: {}: empty selector is invalid")
    elif not label_selector_matches(selector, labels):
        yield Cause(
            "spec.template.metadata.labels",
            f"Invalid value: {labels}: `selector` does not match template `labels`",
        )


def _job(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    template = obj["spec"].get("template")
    if isinstance(template, dict):
        yield from template_causes(template["spec"], "spec.template.spec")
        if template["spec"].get("restartPolicy") not in {"OnFailure", "Never"}:
            supported = 'supported values: "OnFailure", "Never"'
            yield Cause(
                "spec.template.spec.restartPolicy",
                f'Required value: valid values: "OnFailure", "Never" ({supported})',
                "FieldValueRequired",
            )
    if old is not None and template != (old.get("spec") or {}).get("template"):
        yield Cause("spec.template", "Invalid value: field is immutable")


def _service(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = obj["spec"]
    ports = spec.get("ports") or ()
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec.get("type") not in kinds:
        listed = ", ".join(f'"{kind}"' for kind in kinds)
        message = f'Unsupported value: "{spec.get("type")}": supported values: {listed}'
        yield Cause("spec.type", message, "FieldValueNotSupported")
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield _required("spec.ports")
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            yield _required(f"{at}.name")
        number = port.get("port")
        if isinstance(number, int) and not 1 <= number <= 65535:
            yield Cause(
                f"{at}.port", f"Invalid value: {number}: must be between 1 and 65535, inclusive"
            )
        if (number, port.get("protocol")) in seen:
            yield Cause(at, f"Duplicate value: {number}", "FieldValueDuplicate")
        seen.add((number, port.get("protocol")))
    before = ((old or {}).get("spec") or {}).get("clusterIP")
    if before and before != spec.get("clusterIP") and spec.get("type") != "ExternalName":
        message = f'Invalid value: "{spec.get("clusterIP")}": field is immutable'
        yield Cause("spec.clusterIP", message)


def _data(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            if not _DATA_KEY.match(key) or len(key) > 253:
                rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                yield Cause(f"{field}[{key}]", f'Invalid value: "{key}": {rule}')
    if old is not None and old.get("immutable"):
        for field in ("data", "binaryData"):
            if obj.get(field) != old.get(field):
                message = "Forbidden: field is immutable when `immutable` is set"
                yield Cause(field, message, "FieldValueForbidden")
    if old is not None and obj.get("type") != old.get("type"):
        yield Cause("type", f'Invalid value: "{obj.get("type")}": field is immutable')


def _config_map(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    yield from _data(obj, old)
    yield from _encoded(obj, "binaryData")


def _secret(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    yield from _data(obj, old)
    yield from _encoded(obj, "data")


def _encoded(obj: Obj, field: str) -> Iterator[Cause]:
    for key, text in (obj.get(field) or {}).items():
        if not _is_base64(text):
            yield Cause(f"{field}[{key}]", "Invalid value: illegal base64 data")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _webhooks(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    del old
    for index, hook in enumerate(obj.get("webhooks") or ()):
        at = f"webhooks[{index}]"
        for field in ("name", "admissionReviewVersions", "sideEffects", "clientConfig"):
            if not hook.get(field):
                yield _required(f"{at}.{field}")
        if hook.get("matchConditions"):
            raise NotImplementedHere(
                f"{at}.matchConditions: conditions in CEL are not supported by this server; select "
                "by rules, namespaceSelector and objectSelector"
            )
        if hook.get("reinvocationPolicy", "Never") != "Never":
            raise NotImplementedHere(
                f"{at}.reinvocationPolicy: this server calls each webhook once; use Never"
            )
        config = hook.get("clientConfig") or {}
        if bool(config.get("url")) is bool(config.get("service")):
            message = "Required value: exactly one of url or service is required"
            yield Cause(f"{at}.clientConfig", message, "FieldValueRequired")
        if hook.get("sideEffects") not in {None, "None", "NoneOnDryRun"}:
            message = (
                f'Unsupported value: "{hook["sideEffects"]}": supported values: "None", '
                '"NoneOnDryRun"'
            )
            yield Cause(f"{at}.sideEffects", message, "FieldValueNotSupported")
        versions = hook.get("admissionReviewVersions")
        if versions and "v1" not in versions:
            message = f"Invalid value: {versions}: must include at least one of v1"
            yield Cause(f"{at}.admissionReviewVersions", message)


def _crd(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = obj["spec"]
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if obj["metadata"].get("name") != wanted:
        message = f'Invalid value: "{obj["metadata"].get("name")}": must be {wanted}'
        yield Cause("metadata.name", message)
    if spec.get("scope") not in {"Cluster", "Namespaced"}:
        message = f'Unsupported value: "{spec.get("scope")}": supported values: "Cluster", '
        yield Cause("spec.scope", f'{message}"Namespaced"', "FieldValueNotSupported")
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield Cause(
            "spec.versions",
            "Invalid value: must have exactly one version marked as storage version",
        )
    for index, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        at = f"spec.versions[{index}].schema.openAPIV3Schema"
        if not schema:
            yield Cause(at, "Required value: schemas are required", "FieldValueRequired")
        else:
            yield from schemas.problems(schema, at)
    if (spec.get("conversion") or {}).get("strategy") != "None":
        raise NotImplementedHere(
            "spec.conversion.strategy: conversion webhooks are not supported by this server; use "
            "None, with versions that differ in their name alone"
        )
    if (spec.get("group"), names.get("plural")) in _BUILT_IN_KEYS:
        message = f'Forbidden: "{wanted}" is a built-in kind'
        yield Cause("spec.names.plural", message, "FieldValueForbidden")
    if "." not in spec.get("group", ""):
        yield Cause("spec.group", f'Invalid value: "{spec.get("group")}": must be a domain name')
    if old is not None and spec.get("scope") != old["spec"]["scope"]:
        yield Cause("spec.scope", f'Invalid value: "{spec.get("scope")}": field is immutable')


def _role_binding(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    if old is not None and obj.get("roleRef") != old.get("roleRef"):
        yield Cause("roleRef", f"Invalid value: {obj.get('roleRef')}: cannot change roleRef")


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_BY_KIND: dict[Key, Callable[[Obj, Obj | None], Iterator[Cause]]] = {
    ("", "configmaps"): _config_map,
    ("", "pods"): _pod,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("apps", "daemonsets"): _workload,
    ("apps", "deployments"): _workload,
    ("apps", "replicasets"): _workload,
    ("apps", "statefulsets"): _workload,
    ("batch", "jobs"): _job,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _crd,
    (_ADMISSION, "mutatingwebhookconfigurations"): _webhooks,
    (_ADMISSION, "validatingwebhookconfigurations"): _webhooks,
    (_RBAC, "clusterrolebindings"): _role_binding,
    (_RBAC, "rolebindings"): _role_binding,
}
