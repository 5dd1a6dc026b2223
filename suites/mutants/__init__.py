"""Planted defects of the control plane and `refmesh`; those of the proxy are in its sources."""
