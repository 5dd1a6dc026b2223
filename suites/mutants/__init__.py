"""Planted defects of the control plane; those of the proxy are in its own sources."""
