"""The conformance suite: does the mesh do what it claims."""
