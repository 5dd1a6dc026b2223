"""All controllers of a cluster, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cluster.embedded.controllers.deployments import Deployments
from harness.cluster.embedded.controllers.endpoints import ServiceEndpoints
from harness.cluster.embedded.controllers.jobs import Jobs
from harness.cluster.embedded.controllers.namespaces import NamespaceContent
from harness.cluster.embedded.controllers.replicasets import ReplicaSets
from harness.cluster.embedded.controllers.scheduler import Scheduler
from harness.cluster.embedded.events import Events

if TYPE_CHECKING:
    import asyncio

    from harness.cluster.embedded.api.operations import Operations

__all__ = ["Controllers"]


class Controllers:
    """Each one listens to the store from its making on; their tasks belong to `group`."""

    def __init__(
        self,
        operations: Operations,
        group: asyncio.TaskGroup,
        *,
        node: str,
        zone: str,
        root_ca: str,
    ) -> None:
        store = operations.store
        # First, so that a namespace is complete before anyone else hears of it.
        self.namespaces = NamespaceContent(store, group, root_ca)
        self.scheduler = Scheduler(store, Events(store, "default-scheduler"), node)
        self.replica_sets = ReplicaSets(operations, Events(store, "replicaset-controller"), group)
        self.deployments = Deployments(store, Events(store, "deployment-controller"), group)
        self.jobs = Jobs(operations, Events(store, "job-controller"), group)
        self.endpoints = ServiceEndpoints(store, group, zone)
