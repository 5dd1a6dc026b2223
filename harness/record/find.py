"""Finding a run folder by what a user types: a path, an id or its beginning, or `latest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.record.catalogue import near

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["find_run", "run_folders"]


def run_folders(out: Path) -> list[Path]:
    """All run folders below `out`, newest first: their names begin with the time of their start."""
    found = (path.parent for path in (out / "runs").glob("*/run.json"))
    return sorted(found, key=lambda folder: folder.name, reverse=True)


def find_run(name: str, out: Path, here: Path) -> Path:
    """
    The folder that `name` means.

    name: `latest`, a folder or its `run.json` (relative to `here`), a run's full name, or a part of
    it that only one run has.

    Raises:
        UsageError: no run or several match; the message lists what there is.

    """
    path = here / name
    if path.name == "run.json" and path.is_file():
        path = path.parent
    if (path / "run.json").is_file():
        return path.resolve()
    runs = run_folders(out)
    if name == "latest":
        if not runs:
            raise UsageError(
                f"no run below {out / 'runs'} yet; `meshmark run conformance` makes it"
            )
        link = out / "latest"
        return link.resolve() if (link / "run.json").is_file() else runs[0]
    matches = [run for run in runs if name in run.name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = "\n".join(f"  {run.name}" for run in matches[:8])
        raise UsageError(f"{len(matches)} runs match {name!r}; name one of them:\n{listed}")
    hint = near(name, [run.name for run in runs])
    raise UsageError(f"no run {name!r} below {out / 'runs'}{hint}")
