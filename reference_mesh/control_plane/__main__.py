"""Start one component: `python -m reference_mesh.control_plane COMPONENT [flags]`."""

from __future__ import annotations

import importlib
import sys

_MODULES = {
    "identity": "reference_mesh.control_plane.identity",
    "destination": "reference_mesh.control_plane.destination",
    "proxy-injector": "reference_mesh.control_plane.injector",
}


def main(arguments: list[str]) -> int:
    """
    Run the component that the first argument names; 64 when there is no such component.

    Only its own modules are imported: identity must answer soon after it starts.
    """
    module = _MODULES.get(arguments[0] if arguments else "")
    if module is None:
        sys.stderr.write(
            "usage: python -m reference_mesh.control_plane COMPONENT [flags]\n"
            f"COMPONENT is one of {', '.join(_MODULES)}\n"
        )
        return 64
    code: int = importlib.import_module(module).main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
