"""The `kind` program with our settings built in, for who starts it without knowing them."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cluster.kind.guard import Guard

__all__ = ["SAID", "wrapped"]

SAID = "said"
"""The file beside the script with what kind said when it made the cluster."""

_SCRIPT = """#!/bin/sh
# While this runs, the cluster's guard waits.
exec 9>{lifeline}
export KIND_EXPERIMENTAL_PROVIDER=docker
case "$1 $2" in
# Told of one, the plugin would use it, and we delete it: making it fails instead.
"get clusters") ;;
"create cluster")
    {kind} "$@" --config {config} --retain 2> {said}
    code=$?
    cat {said} >&2
    exit $code ;;
*) exec {kind} "$@" ;;
esac
"""


def wrapped(program: str, config: Path, guard: Guard) -> Path:
    """
    A script beside `config`, which kind shall use, that takes the place of `program`.

    It makes clusters with our configuration, and leaves nodes that did not boot for us to look at.
    It knows of no cluster that is there already.
    """
    script = config.with_name("kind")
    script.write_text(
        _SCRIPT.format(
            lifeline=f"/proc/{os.getpid()}/fd/{guard.lifeline}",
            kind=shlex.quote(program),
            config=shlex.quote(str(config)),
            said=shlex.quote(str(config.with_name(SAID))),
        )
    )
    script.chmod(0o700)
    return script
