"""The performance suite: what the mesh costs."""
