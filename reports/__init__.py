"""Renders run folders: HTML pages for one run and for comparisons, JUnit, ConformanceReport."""
