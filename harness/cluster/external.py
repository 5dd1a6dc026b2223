"""Any cluster that a kubeconfig knows, for who has outgrown one machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.cluster import exec_plugin, kubeconfig, one_context
from harness.cluster.api_cluster import ApiCluster
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["external"]

_UNHEEDED = {
    "proxy-url": "remove it and set HTTPS_PROXY, which is heeded",
    "tls-server-name": "remove it and name the server as its certificate does",
    "auth-provider": "kubectl has given it up too; take an exec plugin or a token",
}
"""Fields of clusters and users that the client here does not know, and what to do instead."""


class _Foreign(ApiCluster):
    """A cluster by the one context that was cut out of a kubeconfig; `close` removes the copy."""

    def __init__(self, context: str, document: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="meshmark-")
        path = Path(self._folder.name, "kubeconfig")
        kubeconfig.write_private(path, yaml.safe_dump(dict(document)))
        super().__init__(context, path, context)

    def close(self) -> None:
        """Close the client's connections and forget the credentials."""
        super().close()
        self._folder.cleanup()

    def silence(self) -> str:
        """What to ask of the cluster; the copy of the kubeconfig is gone by then."""
        return f"look at it with `kubectl --context {self.context} cluster-info`"


def external(context: str, path: Path | None = None) -> ApiCluster:
    """
    The cluster behind a context of a kubeconfig, `$KUBECONFIG` or `~/.kube/config` unless given.

    Raises:
        UsageError: there is no such file or context; the message lists those that there are.
        EnvironmentLacks: something in it cannot be used here, such as a plugin that gives no token;
            names it and what to do.

    """
    document = one_context.cut_out(context, [path] if path else kubeconfig.default_paths())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    for field, remedy in _UNHEEDED.items():
        if {**cluster, **user}.get(field):
            raise EnvironmentLacks(
                f"context {context}: {field} of the kubeconfig is not supported here: {remedy}"
            )
    if plugin := user.get("exec"):
        user["exec"] = exec_plugin.usable(plugin, cluster, context)
    return _Foreign(context, document)
