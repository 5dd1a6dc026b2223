"""
The compiler run that makes `gen/` out of the `.proto` files.

Needs grpcio-tools, which only development installs; what it writes is checked in, so that using
the mesh needs no compiler.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["GENERATED", "SOURCES", "generate"]

SOURCES = Path(__file__).parent
"""The folder of the `.proto` files."""

GENERATED = SOURCES / "gen"
"""The folder of the modules made from them."""

_IMPORT_ROOT = "reference_mesh/proto"
_HEADER = '"""Modules made by `python -m reference_mesh.proto`; not edited by hand."""\n'


def generate() -> dict[str, str]:
    """
    Compile every `.proto` file.

    Returns: file name inside `gen/` to its text.

    Raises:
        RuntimeError: the compiler refused a file; it has printed which line.

    """
    from grpc_tools import protoc  # type: ignore[import-untyped] # noqa: PLC0415 - a development tool

    sources = sorted(SOURCES.glob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "protoc",
            f"--proto_path={_IMPORT_ROOT}={SOURCES}",
            f"--proto_path={well_known}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            f"--grpc_python_out={folder}",
            *(f"{_IMPORT_ROOT}/{source.name}" for source in sources),
        ]
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc refused a file of reference_mesh/proto; see its message")
        made = Path(folder, _IMPORT_ROOT)
        files = {path.name: _relocated(path.read_text()) for path in sorted(made.iterdir())}
    with_service = {source.stem for source in sources if "\nservice " in source.read_text()}
    files = {name: text for name, text in files.items() if _is_used(name, with_service)}
    files["__init__.py"] = _HEADER
    return files


def _relocated(text: str) -> str:
    return text.replace("from reference_mesh.proto import", "from reference_mesh.proto.gen import")


def _is_used(name: str, with_service: set[str]) -> bool:
    return not name.endswith("_pb2_grpc.py") or name.removesuffix("_pb2_grpc.py") in with_service
