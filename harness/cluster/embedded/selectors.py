"""
Label and field selectors.

Grammar of labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
A field selector may name any field of the object (`spec.nodeName`, `involvedObject.uid`), not
only those that Kubernetes has an index for; a field that is absent equals the empty string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cluster.embedded.status import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Selector", "label_selector_matches", "selector"]

_IN = re.compile(r"^\s*(\S+)\s+(in|notin)\s*\(([^()]*)\)\s*$")
_EQUALS = re.compile(r"^\s*([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([A-Za-z0-9./_-]+)\s*$")
_BETWEEN = re.compile(r",(?![^(]*\))")
"""A comma outside of parentheses."""


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        present = self.key in labels
        if self.operator == "exists":
            return present
        if self.operator == "absent":
            return not present
        among = present and labels[self.key] in self.values
        return among if self.operator == "in" else not among


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or a watch is narrowed to: namespace, labels, fields; all of them hold."""

    namespace: str | None = None
    labels: tuple[_Requirement, ...] = ()
    fields: tuple[tuple[tuple[str, ...], bool, str], ...] = ()
    """Path, whether it must equal (or must differ), value."""

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether the object is selected."""
        metadata = obj["metadata"]
        if self.namespace is not None and metadata.get("namespace") != self.namespace:
            return False
        if self.labels:
            labels = metadata.get("labels") or {}
            if not all(requirement.holds(labels) for requirement in self.labels):
                return False
        return all((_text_at(obj, path) == value) is equal for path, equal, value in self.fields)


def selector(
    namespace: str | None = None,
    labels: str | Mapping[str, str] | None = None,
    fields: str | Mapping[str, str] | None = None,
) -> Selector:
    """
    Parse what a client asks for.

    labels, fields: selectors in their text form, or mappings of exact values.

    Raises:
        BadRequest: when a selector cannot be parsed; the message quotes it.

    """
    return Selector(namespace or None, _labels(labels), _fields(fields))


def label_selector_matches(wanted: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a `LabelSelector` object selects these labels; None and `{}` select everything."""
    wanted = wanted or {}
    if any(labels.get(key) != value for key, value in (wanted.get("matchLabels") or {}).items()):
        return False
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    return all(
        _Requirement(
            expression["key"],
            operators.get(expression["operator"], ""),
            frozenset(expression.get("values") or ()),
        ).holds(labels)
        for expression in wanted.get("matchExpressions") or ()
    )


def _labels(wanted: str | Mapping[str, str] | None) -> tuple[_Requirement, ...]:
    if not wanted:
        return ()
    if not isinstance(wanted, str):
        return tuple(_Requirement(key, "in", frozenset({value})) for key, value in wanted.items())
    return tuple(_label(term) for term in _BETWEEN.split(wanted) if term.strip())


def _label(term: str) -> _Requirement:
    if found := _IN.match(term):
        key, operator, values = found.groups()
        return _Requirement(key, operator, frozenset(value.strip() for value in values.split(",")))
    if found := _EQUALS.match(term):
        key, operator, value = found.groups()
        return _Requirement(key, "notin" if operator == "!=" else "in", frozenset({value}))
    if found := _EXISTS.match(term):
        negated, key = found.groups()
        return _Requirement(key, "absent" if negated else "exists")
    raise BadRequest(f'unable to parse requirement: "{term}" is not a label selector')


def _fields(
    wanted: str | Mapping[str, str] | None,
) -> tuple[tuple[tuple[str, ...], bool, str], ...]:
    if not wanted:
        return ()
    if not isinstance(wanted, str):
        return tuple((tuple(key.split(".")), True, value) for key, value in wanted.items())
    terms = []
    for term in wanted.split(","):
        found = _EQUALS.match(term)
        if found is None:
            raise BadRequest(f'invalid field selector: "{term}" is not of the form field=value')
        path, operator, value = found.groups()
        terms.append((tuple(path.split(".")), operator != "!=", value))
    return tuple(terms)


def _text_at(obj: Any, path: tuple[str, ...]) -> str:
    for step in path:
        obj = obj.get(step) if isinstance(obj, dict) else None
    if obj is None:
        return ""
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return str(obj)
