"""disentlib: models, losses and metrics of disentangled representation learning, and the runs behind the book."""

__version__ = "0.1.0"
