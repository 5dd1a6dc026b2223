"""Label selectors, with `matchLabels` and `matchExpressions` as Kubernetes defines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Requirement", "Selector", "selector_of"]

_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition; an absent label meets `NotIn`."""
        value = labels.get(self.key)
        if self.operator == "Exists":
            return value is not None
        if self.operator == "DoesNotExist":
            return value is None
        if self.operator == "In":
            return value is not None and value in self.values
        return value is None or value not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that all must hold; none selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.holds(labels) for requirement in self.requirements)


def selector_of(document: Mapping[str, Any] | None) -> Selector:
    """
    Read a selector.

    Raises:
        InvalidInput: an operator is not one of the four that Kubernetes has.

    """
    document = document or {}
    found = [
        Requirement(key, "In", frozenset({value}))
        for key, value in sorted((document.get("matchLabels") or {}).items())
    ]
    for expression in document.get("matchExpressions") or ():
        operator = expression["operator"]
        if operator not in _OPERATORS:
            raise InvalidInput(f"matchExpressions: {operator!r} is not an operator of a selector")
        found.append(
            Requirement(expression["key"], operator, frozenset(expression.get("values") or ()))
        )
    return Selector(tuple(found))
