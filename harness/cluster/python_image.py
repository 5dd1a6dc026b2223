"""The Python that runs this, as a container image: for what is written in it and runs in pods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster.model import Bind, Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["python_image"]

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("harness", "reference_mesh", "reports", "suites")
_LOCKS = Path(__file__).parent / "images"
_SITE = "/usr/local/lib/python3.11/dist-packages"
_USER = 2103
"""As the control plane's pods say."""


def python_image(
    reference: str,
    module: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    besides: Sequence[str] = (),
    lock: str = "python",
    root: Path = _ROOT,
) -> Image:
    """
    The image that runs `python -m module`, with this interpreter and its packages at their paths.

    root: the folder with the packages of this project, where they are not this clone's.

    Of the clone it shows the packages only, not the folders around them: those may be closed to
    the container's user, as the ones are that tox makes.

    A real image has Debian's Python instead, what `images/LOCK.lock` names, and of the clone the
    package that the module is in and those named `besides`.
    """
    return Image(
        reference=reference,
        binds=[(folder, str(folder)) for folder in _folders(root)],
        entrypoint=[sys.executable, "-m", module, *arguments],
        env=env if root == _ROOT else {**(env or {}), "PYTHONPATH": str(root)},
        user=_USER,
        portable=Image(
            reference=reference,
            binds=_modules(root, {module.partition(".")[0], *besides}),
            entrypoint=["/usr/bin/python3", "-m", module, *arguments],
            env=env,
            user=_USER,
            packages=["libstdc++6", "python3"],
            wheels=_LOCKS / f"{lock}.lock",
        ),
    )


def _modules(root: Path, packages: set[str]) -> list[Bind]:
    return [
        Bind(path, f"{_SITE}/{path.relative_to(root)}")
        for package in sorted(packages)
        for path in sorted((root / package).rglob("*.py"))
    ]


def _folders(root: Path) -> Sequence[Path]:
    packages = {root / name for name in _PACKAGES if (root / name / "__init__.py").is_file()}
    return sorted({Path(sys.prefix), Path(sys.base_prefix), *packages})
