"""
One context cut out of the user's kubeconfig files.

Which files count, how they merge and which of their parts a context means is kubectl's to say, so
it is asked; without it one file can be read.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from harness.cluster.kind import tools
from harness.errors import EnvironmentLacks, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["cut_out"]

_KUBECTL = (1, 20)
_LIMIT_S = 20.0
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def cut_out(context: str, files: Sequence[Path]) -> dict[str, Any]:
    """
    A kubeconfig that has this context, its cluster and its user, and nothing else.

    files: in the order of $KUBECONFIG; those that are not there are passed over, as kubectl does.

    Raises:
        UsageError: there is no file, no such context, or it cannot be used; lists the contexts.
        EnvironmentLacks: there are several files and no kubectl to merge them.

    """
    there = [file.absolute() for file in files if file.is_file()]
    if not there:
        named = ", ".join(map(str, files))
        raise UsageError(f"there is no kubeconfig at {named}: set $KUBECONFIG to one")
    try:
        kubectl = tools.find("kubectl", _KUBECTL)
    except EnvironmentLacks as error:
        if len(there) > 1:
            raise EnvironmentLacks(
                f"$KUBECONFIG names several files, and only kubectl can merge them: {error}; or "
                "set it to the one file that has all of the context"
            ) from error
        document = _by_hand(context, there[0])
    else:
        document = _by_kubectl(kubectl, context, there)
    for each in ("clusters", "users"):
        if len(document.get(each) or ()) != 1:
            named = ", ".join(map(str, there))
            raise UsageError(f"{named}: context {context} has no {each[:-1]}: give it one")
    _resolve(document["clusters"][0]["cluster"], there)
    _resolve(document["users"][0]["user"], there)
    return document


def _by_kubectl(kubectl: str, context: str, files: Sequence[Path]) -> dict[str, Any]:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [kubectl, "config", *arguments],
            env={**os.environ, "KUBECONFIG": os.pathsep.join(map(str, files))},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )

    done = ask("view", "--raw", "--flatten", "--minify", f"--context={context}", "--output=yaml")
    if done.returncode == 0:
        document: dict[str, Any] = yaml.safe_load(done.stdout)
        return document
    known = ask("get-contexts", "--output=name").stdout.split()
    if known and context not in known:
        raise _unknown(context, known, files)
    raise _unusable(files, done.stderr.strip())


def _by_hand(context: str, file: Path) -> dict[str, Any]:
    """The same of one file; paths in it stay paths."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        parts = {
            kind: {each["name"]: each for each in document.get(kind) or ()}
            for kind in ("contexts", "clusters", "users")
        }
        chosen = parts["contexts"].get(context)
        named = {} if chosen is None else chosen["context"]
        meant = [parts[kind].get(named.get(kind[:-1])) for kind in ("clusters", "users")]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise _unusable([file], f"{type(error).__name__}: {error}") from error
    if chosen is None:
        raise _unknown(context, list(parts["contexts"]), [file])
    clusters, users = ([one] if one else [] for one in meant)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [chosen],
        "clusters": clusters,
        "users": users,
    }


def _resolve(part: dict[str, Any], files: Sequence[Path]) -> None:
    """Make paths absolute, which are relative to the file that they stand in."""
    for name in _PATHS:
        if part.get(name):
            part[name] = _absolute(part[name], files)
    plugin = part.get("exec")
    if plugin and os.sep in plugin.get("command", ""):
        plugin["command"] = _absolute(plugin["command"], files)


def _absolute(path: str, files: Sequence[Path]) -> str:
    candidates = [file.parent / path for file in files]
    return str(next((each for each in candidates if each.exists()), candidates[0]))


def _unknown(context: str, known: Sequence[str], files: Sequence[Path]) -> UsageError:
    named = ", ".join(map(str, files))
    return UsageError(
        f"{named} has no context {context!r}; it has: {', '.join(sorted(known)) or 'none at all'}"
    )


def _unusable(files: Sequence[Path], why: str) -> UsageError:
    return UsageError(f"no usable kubeconfig at {', '.join(map(str, files))}: {why}")
