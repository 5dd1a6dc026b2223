"""
YAML in and out, the same bytes from the same input.

Texts of several lines are printed as blocks, so that certificates and scripts stay readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from reference_mesh.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["dump", "dump_all", "load_all"]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes every reference out; anchors would tie documents together."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Dumper.add_representer(str, _text)


def dump(document: Any) -> str:
    """One document, in the order of its keys."""
    return str(
        yaml.dump(
            document,
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=100,
        )
    )


def dump_all(documents: Iterable[Mapping[str, Any]]) -> str:
    """Several documents, each after `---`."""
    return "".join(f"---\n{dump(document)}" for document in documents)


def load_all(text: str, source: str) -> list[Any]:
    """
    Every document of a stream; empty ones are left out.

    Raises:
        InvalidInput: not YAML; names the source and the line.

    """
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidInput(f"{source}{place}: not YAML: {problem}") from error
