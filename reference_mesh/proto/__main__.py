"""Write the Python modules of `reference_mesh/proto/gen` anew: `python -m reference_mesh.proto`."""

from __future__ import annotations

import sys
from pathlib import Path

from reference_mesh.proto.generate import GENERATED, generate


def main() -> int:
    """Regenerate, and say how many files were written."""
    files = generate()
    GENERATED.mkdir(exist_ok=True)
    for stale in GENERATED.glob("*_pb2*.py*"):
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        Path(GENERATED, name).write_text(text)
    sys.stdout.write(f"wrote {len(files)} files to reference_mesh/proto/gen\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
