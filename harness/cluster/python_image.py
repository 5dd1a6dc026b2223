"""The Python that runs this, as a container image: for what is written in it and runs in pods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.model import Image
from harness.errors import EnvironmentLacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["python_image"]

_PACKAGES = ("harness", "reference_mesh", "reports", "suites")


def python_image(
    reference: str, module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Image:
    """
    The image that runs `python -m module`, with this interpreter and its packages at their paths.

    Of the clone it shows the packages only, not the folders around them: those may be closed to
    the container's user, as the ones are that tox makes.

    Raises:
        EnvironmentLacks: a folder itself is closed to other users, as with a umask of 077.

    """
    folders = _folders()
    for folder in folders:
        if folder.stat().st_mode & 0o005 != 0o005:
            raise EnvironmentLacks(
                f"{folder} is closed to other users, and pods run as one: open it for reading "
                f"with `chmod -R a+rX {folder}`"
            )
    return Image(
        reference=reference,
        binds=[(folder, str(folder)) for folder in folders],
        entrypoint=[sys.executable, "-m", module, *arguments],
        env=env,
    )


def _folders() -> Sequence[Path]:
    root = Path(__file__).parents[2]
    packages = {root / name for name in _PACKAGES if (root / name).is_dir()}
    return sorted({Path(sys.prefix), Path(sys.base_prefix), *packages})
