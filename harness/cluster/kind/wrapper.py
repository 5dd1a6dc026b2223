"""The `kind` program with our settings built in, for who starts it without knowing them."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cluster.kind.guard import Guard

__all__ = ["wrapped"]

_SCRIPT = """#!/bin/sh
# While this runs, the cluster's guard waits.
exec 9>{lifeline}
case "$1 $2" in
"create cluster") exec {kind} "$@" --config {config} --retain ;;
*) exec {kind} "$@" ;;
esac
"""


def wrapped(program: str, config: Path, guard: Guard) -> Path:
    """
    A script beside `config`, which kind shall use, that takes the place of `program`.

    It makes clusters with our configuration, and leaves nodes that did not boot for us to look at.
    """
    script = config.with_name("kind")
    script.write_text(
        _SCRIPT.format(
            lifeline=f"/proc/{os.getpid()}/fd/{guard.lifeline}",
            kind=shlex.quote(program),
            config=shlex.quote(str(config)),
        )
    )
    script.chmod(0o700)
    return script
