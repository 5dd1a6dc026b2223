"""What does the mesh cost?"""
