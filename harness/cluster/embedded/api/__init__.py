"""
The embedded cluster's API server: the part of the Kubernetes API that a mesh and kubectl need.

`node` says what it asks of the node agent, `operations` is a write with everything that belongs to
it (defaults, admission, validation), `app` is the HTTP side. The objects are in `store`.
"""
