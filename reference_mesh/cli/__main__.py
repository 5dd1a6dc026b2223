"""Run the command line: `python -m reference_mesh.cli`."""

from __future__ import annotations

from reference_mesh.cli import main

if __name__ == "__main__":
    main()
