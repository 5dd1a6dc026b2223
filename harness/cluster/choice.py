"""Which cluster a run gets: what `--cluster` names, opened and closed again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from harness.cluster import embedded
from harness.cluster.external import external
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.model import Cluster

__all__ = ["opened"]

_CONTEXT = "context:"


@contextlib.contextmanager
def opened(choice: str, *, name: str, keep: bool = False) -> Iterator[Cluster]:
    """
    The cluster that `choice` names: `embedded`, or `context:NAME` of a kubeconfig.

    name: of an embedded cluster made for this. keep: leave that one up afterwards.

    Raises:
        UsageError: there is no such engine or context.

    """
    if choice == "embedded" and keep:
        yield embedded.up(name)
    elif choice == "embedded":
        with embedded.start(name) as cluster:
            yield cluster
    elif choice.startswith(_CONTEXT):
        yield external(choice.removeprefix(_CONTEXT))
    else:
        raise UsageError(
            f"there is no cluster engine {choice!r}; take `embedded`, or `context:NAME` for a "
            "cluster of your kubeconfig"
        )
