"""Modules made by `python -m reference_mesh.proto`; not edited by hand."""
