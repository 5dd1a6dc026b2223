"""Which cluster a command gets: what `--cluster` names, opened and closed again."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from harness.cluster import embedded, kind
from harness.cluster.embedded import launch
from harness.cluster.external import external
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cluster.api_cluster import ApiCluster
    from harness.cluster.model import Cluster

__all__ = ["ENGINES", "attach", "down", "engine_of", "opened", "refuse_twice", "require"]

ENGINES = ("embedded", "kind")
"""Those that make clusters."""

_CONTEXT = "context:"


def engine_of(choice: str) -> str:
    """
    The engine behind what `--cluster` says: embedded, kind or external.

    Raises:
        UsageError: there is no such engine.

    """
    if choice in ENGINES:
        return choice
    if choice.startswith(_CONTEXT):
        return "external"
    raise UsageError(
        f"there is no cluster engine {choice!r}; take {' or '.join(ENGINES)}, or `context:NAME` "
        "for a cluster of your kubeconfig"
    )


@contextlib.contextmanager
def opened(choice: str, *, name: str, keep: bool = False) -> Iterator[Cluster]:
    """
    The cluster that `choice` names: `embedded`, `kind`, or `context:NAME` of a kubeconfig.

    name: of a cluster made for this. keep: leave that one up afterwards; on kind also if it failed.

    Raises:
        UsageError: there is no such engine or context.

    """
    engine = engine_of(choice)
    if engine == "external":
        with contextlib.closing(external(choice.removeprefix(_CONTEXT))) as foreign:
            yield foreign
        return
    if keep:
        up = functools.partial(kind.up, keep_failed=True) if engine == "kind" else embedded.up
        with contextlib.closing(up(name)) as kept:
            yield kept
        return
    maker = kind if engine == "kind" else embedded
    with maker.start(name) as cluster, contextlib.closing(cluster):
        yield cluster


def attach(name: str) -> ApiCluster:
    """
    The cluster that `meshmark up` started under this name, whichever engine made it.

    Raises:
        UsageError: none is up; the message says how to start one.

    """
    return kind.attach(name) if kind.is_up(name) else embedded.attach(name)


def down(name: str) -> bool:
    """End the clusters of this name that `meshmark up` started; False when there was none."""
    ended = [embedded.down(name), kind.down(name)]
    return any(ended)


def refuse_twice(choice: str, name: str) -> None:
    """
    Make sure that `choice` can make a cluster of this name, and that no other engine has one.

    Raises:
        UsageError: one is up; says how to use it and how to end it.

    """
    launch.refuse_twice(name)
    if engine_of(choice) == "kind" or kind.is_up(name):
        kind.refuse(name)


def require(choice: str) -> None:
    """
    Check what the engine behind `choice` needs of this machine: programs, or a kubeconfig.

    Raises:
        EnvironmentLacks: names what is missing and how to get it.
        UsageError: there is no such context; lists those that there are.

    """
    engine = engine_of(choice)
    if engine == "embedded":
        launch.require()
    elif engine == "kind":
        kind.require()
    else:
        external(choice.removeprefix(_CONTEXT)).close()
