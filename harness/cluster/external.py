"""Any cluster that a kubeconfig knows, for who has outgrown one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from harness.cluster import kubeconfig
from harness.cluster.api_cluster import ApiCluster
from harness.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["external"]


def external(context: str, path: Path | None = None) -> ApiCluster:
    """
    The cluster behind a context of a kubeconfig, `$KUBECONFIG` or `~/.kube/config` unless given.

    Raises:
        UsageError: there is no such file or context; the message lists those that there are.

    """
    path = path or kubeconfig.default_path()
    try:
        known = sorted(KubeConfig.from_file(path).contexts)
    except ConfigError as error:
        raise UsageError(f"no usable kubeconfig at {path} (set $KUBECONFIG): {error}") from error
    if context not in known:
        raise UsageError(
            f"{path} has no context {context!r}; it has: {', '.join(known) or 'none at all'}"
        )
    return ApiCluster(context, path, context)
