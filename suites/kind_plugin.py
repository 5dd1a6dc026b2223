"""
Clusters that pytest-kind makes, taken over by the engine.

Where that plugin is loaded, its fixture makes the cluster and its options say how: name, node
image, kubeconfig, keeping. This adds what it does not know: what the machine needs in kind's
configuration, a name for each lane, and an end when the process that made it is gone. The plugin
downloads nothing: it is given the kind program of this machine.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cluster import kind
from harness.cluster.kind import launch, nodes
from harness.cluster.kind.claim import claimed
from harness.cluster.kind.guard import guarded
from harness.cluster.kind.program import explained, is_another, program
from harness.cluster.kind.wrapper import SAID, wrapped
from harness.errors import ClusterError, UsageError

if TYPE_CHECKING:
    import pytest

    from harness.cluster.kind.guard import Guard
    from harness.plugin import Options
    from harness.record.catalogue import Lane

__all__ = ["is_loaded", "keeping", "made"]

_PLUGINS_OWN_NAME = "pytest-kind"
_TAKEN = "meshmark_kind_cluster_taken"
_PLUGINS_OWN_FOLDER = Path(".pytest-kind")
"""It makes this where it is started."""

_NEXT = (
    "`meshmark node-image build` makes the image of the nodes anew; `-- --kind-image=IMAGE` takes "
    "another"
)


def is_loaded(config: pytest.Config) -> bool:
    """Whether pytest-kind is there with its options."""
    return hasattr(config.option, "kind_bin")


def keeping(config: pytest.Config, options: Options) -> Options:
    """The options of a run, with `keep` also where the plugin's own option says so."""
    if options.engine == "kind" and is_loaded(config) and config.option.keep_cluster:
        return msgspec.structs.replace(options, keep=True)
    return options


def made(request: pytest.FixtureRequest, lane: Lane, *, keep: bool) -> kind.KindCluster:
    """
    The cluster that the fixture `kind_cluster` makes for a lane.

    keep: leave it up in the end, whatever the plugin's option says: see `keeping`.

    Raises:
        UsageError: there is a kind cluster of that name, or this process has taken its one already.
        ClusterError: kind could not make it.

    """
    option: Any = request.config.option
    if getattr(option, _TAKEN, lane) is not lane:
        raise UsageError("pytest-kind makes one cluster for each process: choose a lane by --lane")
    setattr(option, _TAKEN, lane)
    # The fixture is the last to be set up, so it would delete the cluster under all that stand on
    # it, and not after them: the guard does that.
    option.keep_cluster = True
    option.cluster_name = name = _name(option.cluster_name, lane)
    ends = contextlib.ExitStack()
    request.config.add_cleanup(ends.close)  # after every fixture
    with claimed(name):
        launch.refuse(name)
        settings = launch.settings(workers=kind.WORKERS, image=option.kind_image or "")
        folder = Path(tempfile.mkdtemp(prefix="meshmark-kind-"))
        guard = ends.enter_context(guarded(name, folder))
        config = folder / "kind.yaml"
        config.write_text(settings)
        option.kind_bin = str(wrapped(option.kind_bin or program("kind"), config, guard))
        option.kubeconfig = option.kubeconfig or str(folder / "kubeconfig")
        kubeconfig = Path(option.kubeconfig).absolute()
        with launch.failed_stays(name, kubeconfig, guard) if keep else contextlib.nullcontext():
            _create(request, name, folder, guard)
            cluster = kind.KindCluster(name, kubeconfig)
            cluster.ready(launch.READY_S)
    if keep:
        launch.record(name, cluster.kubeconfig)
        guard.dismiss()
        return kind.attach(name)
    return cluster


def _create(request: pytest.FixtureRequest, name: str, folder: Path, guard: Guard) -> None:
    """Have the plugin's fixture make the cluster."""
    try:
        request.getfixturevalue("kind_cluster")
    except (subprocess.CalledProcessError, OSError) as error:
        file = folder / SAID
        said = file.read_text(errors="replace") if file.exists() else str(error)
        if is_another(said):
            guard.dismiss()  # made by another since we looked
            launch.refuse(name)
        failed = explained(f"pytest-kind could not make cluster {name}", said)
        if isinstance(failed, ClusterError):
            failed = ClusterError(f"{failed}\n{nodes.last_words(name)}\n{_NEXT}")
        raise failed from error
    finally:
        _forget(name)


def _name(asked: str, lane: Lane) -> str:
    """Each lane has its cluster, and each run where the user named none."""
    own = asked == _PLUGINS_OWN_NAME
    return f"{asked}-{lane}-{os.getpid()}" if own else f"{asked}-{lane}"


def _forget(name: str) -> None:
    """Remove the place for what the plugin downloads, which is nothing."""
    for folder in (_PLUGINS_OWN_FOLDER / name, _PLUGINS_OWN_FOLDER):
        with contextlib.suppress(OSError):  # others' clusters are in it
            folder.rmdir()
