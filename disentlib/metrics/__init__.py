"""Metrics: pure functions of arrays, one module each, and the protocols that fix their constants."""

from disentlib.metrics.dci import DCI, completeness, dci, disentanglement
from disentlib.metrics.factor_vae import factor_vae
from disentlib.metrics.mig import mig
from disentlib.metrics.posterior import active_dimensions, two_sample_auc
from disentlib.metrics.protocol import LOCATELLO, Protocol

__all__ = [
    "DCI",
    "LOCATELLO",
    "Protocol",
    "active_dimensions",
    "completeness",
    "dci",
    "disentanglement",
    "factor_vae",
    "mig",
    "two_sample_auc",
]
