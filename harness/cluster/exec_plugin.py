"""
Programs that a kubeconfig names to get a user's token from (`exec`).

lightkube runs them again when a token is refused. It knows API versions v1alpha1 and v1beta1, of
which v1 differs in no field that it reads, and does not tell a plugin which version to answer in.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["usable"]

_GROUP = "client.authentication.k8s.io"
_LIMIT_S = 120.0
"""Some plugins open a browser and wait for somebody to log in."""


def usable(plugin: Mapping[str, Any], cluster: Mapping[str, Any], context: str) -> dict[str, Any]:
    """
    The plugin as lightkube takes it; it was run once, and gave a token.

    plugin: `exec` of a kubeconfig's user. cluster: told to plugins that ask for it.

    Raises:
        EnvironmentLacks: it is missing, fails, or gives no token; names it and what to do.

    """
    version = str(plugin.get("apiVersion", ""))
    asked: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        asked["cluster"] = dict(cluster)
    told = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": asked})
    info = {"name": "KUBERNETES_EXEC_INFO", "value": told}
    known = f"{_GROUP}/v1beta1" if version == f"{_GROUP}/v1" else version
    result = {**plugin, "apiVersion": known, "env": [*(plugin.get("env") or ()), info]}
    _try(result, context)
    return result


def _try(plugin: Mapping[str, Any], context: str) -> None:
    command = [str(plugin.get("command", "")), *(plugin.get("args") or ())]
    # By its name alone: its arguments may hold a secret.
    named = f"context {context}: its user's plugin `{command[0]}`"
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **{each["name"]: each["value"] for each in plugin["env"]}},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except OSError as error:
        hint = plugin.get("installHint") or "install it, or name it with its whole path"
        raise EnvironmentLacks(f"{named} cannot be run ({error.strerror}): {hint}") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentLacks(
            f"{named} did not answer within {_LIMIT_S:g} s: log in with it by hand, then again"
        ) from error
    if done.returncode != 0:
        said = "; ".join(done.stderr.strip().splitlines()[-3:]) or "it said nothing"
        raise EnvironmentLacks(
            f"{named} ended with {done.returncode} ({said}): run it by hand until it prints a "
            "token, then again"
        )
    try:
        token = json.loads(done.stdout)["status"]["token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str):
        raise EnvironmentLacks(
            f"{named} printed no status.token; certificates of plugins are not supported here: "
            "put a token of `kubectl create token` into a context of its own"
        )
