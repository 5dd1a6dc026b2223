"""Options that every command takes: which cluster, and where in it the control plane is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reference_mesh.manifests import names

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Where", "where_options"]

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Where:
    """
    A cluster and the namespace of the control plane in it.

    kubeconfig: a file, else $KUBECONFIG or ~/.kube/config. context: else the current one.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = names.DEFAULT_NAMESPACE


def where_options(function: F) -> F:
    """Give a command the options; they may stand before or after the command's name."""

    @click.option("--kubeconfig", metavar="FILE", help="Path to the kubeconfig file.")
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig to use.")
    @click.option(
        "-L",
        "--linkerd-namespace",
        metavar="NAMESPACE",
        help=f"Namespace of the control plane.  [default: {names.DEFAULT_NAMESPACE}]",
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        kubeconfig: str | None,
        context: str | None,
        linkerd_namespace: str | None,
        **kwargs: Any,
    ) -> Any:
        outer = click.get_current_context().find_object(Where) or Where()
        where = Where(
            kubeconfig=kubeconfig or outer.kubeconfig,
            context=context or outer.context,
            namespace=linkerd_namespace or outer.namespace,
        )
        return function(*args, where=where, **kwargs)

    return wrapper  # type: ignore[return-value]
