"""batchbrew: how batch size and node count speed up neural-network training."""

__version__ = "0.1.0"
