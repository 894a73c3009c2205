"""Measurements behind the figures in the documents: `python -m benchmarks.NAME`, from the root of the repository."""
