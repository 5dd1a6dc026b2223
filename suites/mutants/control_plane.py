"""
The control plane with one planted defect: `python -m suites.mutants.control_plane COMPONENT`.

`MESHMARK_MUTANT` names the defect. A name that is not in `DEFECTS` is left to the proxy, and the
control plane runs as it is. Each defect replaces one function before the real program starts; the
program itself knows nothing of this module.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from suites.mutants import injecting, issuing, permitting

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFECTS", "main"]

DEFECTS: dict[str, Callable[[], None]] = {
    **issuing.DEFECTS,
    **injecting.DEFECTS,
    **permitting.DEFECTS,
}
"""What to do to the modules of the control plane, by the defect's id in the catalogue."""


def main(arguments: list[str]) -> int:
    """Plant the defect that the environment names, and run a component; returns its exit code."""
    plant = DEFECTS.get(os.environ.get("MESHMARK_MUTANT", ""))
    if plant is not None:
        plant()
    from reference_mesh.control_plane.__main__ import main as run  # noqa: PLC0415

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
