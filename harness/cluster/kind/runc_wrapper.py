"""
A container runtime for hosts that lack CAP_SYS_RESOURCE: runc, never asked for that capability.

Docker gives a privileged container every capability that the kernel knows, and runc refuses to
set one that the host itself lacks ("unable to apply caps"). This program takes the capability out
of what Docker wrote for runc, then becomes runc. It is installed as a file of its own and runs
once per call of Docker, so it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any

CAPABILITY = "CAP_SYS_RESOURCE"
RUNC = "runc"

_BUNDLE_OPTIONS = ("--bundle", "-b")
_PROCESS_OPTIONS = ("--process", "-p")


def files_to_edit(arguments: list[str]) -> list[str]:
    """Name the files by which this call tells runc of capabilities: none for most calls."""
    if "create" in arguments or "run" in arguments:
        bundle = _value(arguments, _BUNDLE_OPTIONS) or "."
        return [os.path.join(bundle, "config.json")]
    if "exec" in arguments:
        process = _value(arguments, _PROCESS_OPTIONS)
        return [process] if process else []
    return []


def without_capability(spec: dict[str, Any], name: str = CAPABILITY) -> dict[str, Any]:
    """Return a runtime spec, or the process of one, in which no set holds the capability."""
    process = spec.get("process", spec)
    for kind, held in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [one for one in held if one != name]
    return spec


def main() -> None:
    """Edit what must be edited, then become runc."""
    arguments = sys.argv[1:]
    for path in files_to_edit(arguments):
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(without_capability(spec), file)
    os.execvp(RUNC, [RUNC, *arguments])  # noqa: S606 - it is what this program becomes


def _value(arguments: list[str], options: tuple[str, ...]) -> str:
    for at, argument in enumerate(arguments):
        if argument in options and at + 1 < len(arguments):
            return arguments[at + 1]
        name, separator, value = argument.partition("=")
        if separator and name in options:
            return value
    return ""


if __name__ == "__main__":
    main()
