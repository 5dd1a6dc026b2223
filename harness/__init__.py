"""Stands service meshes up and judges them."""
