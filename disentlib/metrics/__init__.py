"""Metrics: pure functions of arrays, one module each, and the protocols that fix their constants."""

from disentlib.metrics.mig import mig
from disentlib.metrics.posterior import active_dimensions, two_sample_auc
from disentlib.metrics.protocol import LOCATELLO, Protocol

__all__ = ["LOCATELLO", "Protocol", "active_dimensions", "mig", "two_sample_auc"]
