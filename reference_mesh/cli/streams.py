"""
Kubernetes YAML from files, folders and standard input, document by document.

A document that is not changed keeps its text, comments included, byte for byte.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference_mesh.errors import InvalidInput, UsageError
from reference_mesh.manifests import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Chunk", "read", "rewritten"]

_SUFFIXES = {".yaml", ".yml", ".json"}
_SEPARATOR = re.compile(r"^---(?=\s|$).*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One document: its text without the separator, and what it says (None when empty)."""

    text: str
    document: Any


def read(paths: Iterable[str]) -> Iterator[Chunk]:
    """
    Every document of these files and folders, in order; `-` is standard input.

    Raises:
        UsageError: there is no such file.
        InvalidInput: something is not YAML, or not text; names it.

    """
    for path in paths:
        if path == "-":
            yield from _chunks(_standard_input(), "standard input")
            continue
        if "://" in path:
            raise UsageError(f"{path}: addresses are not read; fetch it first and pipe it in")
        root = Path(path)
        if root.is_dir():
            files = sorted(file for file in root.rglob("*") if file.suffix in _SUFFIXES)
            for file in files:
                yield from _chunks(_text(file), str(file))
        elif root.exists():
            yield from _chunks(_text(root), path)
        else:
            raise UsageError(f"{path}: no such file or folder")


def rewritten(chunks: Iterable[Chunk], change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """
    One stream of all documents, each as `change` returns it.

    change: gets an object (each item of a List by itself) and returns the same or another one.
    """
    parts = []
    for chunk in chunks:
        if not isinstance(chunk.document, dict):
            text = chunk.text
        else:
            changed = _changed(chunk.document, change)
            text = chunk.text if changed == chunk.document else documents.dump(changed)
        if text.strip():
            parts.append(text if text.endswith("\n") else f"{text}\n")
    return "---\n".join(parts)


def _changed(
    document: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        items = [_changed(i, change) if isinstance(i, dict) else i for i in document["items"]]
        return {**document, "items": items}
    return change(document)


def _chunks(text: str, source: str) -> Iterator[Chunk]:
    for part in _SEPARATOR.split(text):
        loaded = documents.load_all(part, source)
        if len(loaded) > 1:
            raise InvalidInput(f"{source}: documents must be separated by lines of `---`")
        if loaded or part.strip():
            yield Chunk(part, loaded[0] if loaded else None)


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"standard input: cannot be read as text: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: cannot be read as text: {error}") from error
