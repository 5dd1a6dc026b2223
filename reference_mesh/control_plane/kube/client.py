"""
The Kubernetes client, and the kinds that the control plane reads.

All kinds are read as plain JSON objects: the control plane takes a few facts of each and drops
the rest, so typed models of whole objects would only cost time and memory.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from lightkube import AsyncClient
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import (
    GenericGlobalResource,
    GenericNamespacedResource,
    create_api_info,
)

from reference_mesh.errors import ClusterError

if TYPE_CHECKING:
    from reference_mesh.control_plane.kube.denied import Denials

__all__ = ["CONFIG_MAPS", "EVENTS", "SECRETS", "TOKEN_REVIEWS", "Kind", "connect", "reason"]

_TIMEOUT_S = 10.0
"""Bound of one request. Watches are bounded by their own reader."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the API, readable in all namespaces at once."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def resource(self) -> Any:
        """The lightkube class of this kind; objects of it are dictionaries."""
        return _resource(self)


SECRETS = Kind("", "v1", "Secret", "secrets")
CONFIG_MAPS = Kind("", "v1", "ConfigMap", "configmaps")
EVENTS = Kind("", "v1", "Event", "events")
TOKEN_REVIEWS = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)


@functools.cache
def _resource(kind: Kind) -> Any:
    # Not by lightkube's create_*_resource: its registry holds one class per kind and process,
    # and refuses this one where somebody has imported the typed class.
    base: Any = GenericNamespacedResource if kind.namespaced else GenericGlobalResource
    about = create_api_info(kind.group, kind.version, kind.name, kind.plural)
    return type(kind.name, (base,), {"_api_info": about})


def connect(denials: Denials) -> AsyncClient:
    """
    A client for the cluster of this pod, or of the kubeconfig when run outside one.

    Inside a pod the service account's token is read again when the API refuses it, so a token
    that the kubelet has replaced costs one request. Calls that the API denies go to `denials`.

    Raises:
        ClusterError: there is neither a service account nor a kubeconfig.

    """
    try:
        config = KubeConfig.from_env().get()
        if config is None or config.user is None:
            raise ClusterError("no way to reach a Kubernetes API: the kubeconfig names no user")
        trust = verify_cluster(config.cluster, config.user, config.abs_file)
    except (ConfigError, OSError, KeyError) as error:
        raise ClusterError(f"no way to reach a Kubernetes API: {error}") from error
    transport = denials.through(httpx2.AsyncHTTPTransport(verify=trust))
    return AsyncClient(config, timeout=httpx2.Timeout(_TIMEOUT_S), transport=transport)


def reason(error: BaseException) -> str:
    """What went wrong with a request, short enough for one line of a log."""
    if isinstance(error, httpx2.HTTPStatusError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    return f"{type(error).__name__}: {error}".rstrip(": ")
