"""Does the mesh do what it claims?"""
