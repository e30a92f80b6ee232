"""Metrics: pure functions of arrays, one module each, and the protocols that fix their constants."""

from disentlib.metrics.beta_vae import beta_vae
from disentlib.metrics.dci import DCI, completeness, dci, disentanglement
from disentlib.metrics.evaluate import SCORES, evaluate
from disentlib.metrics.factor_vae import factor_vae
from disentlib.metrics.mig import mig
from disentlib.metrics.posterior import (
    active_dimensions,
    kl_per_dimension,
    reconstruction_error,
    total_correlation,
    two_sample_auc,
)
from disentlib.metrics.protocol import INFOGAN_CR, LOCATELLO, Protocol
from disentlib.metrics.sap import sap
from disentlib.metrics.sharpness import laplacian_energy, relative_sharpness

__all__ = [
    "DCI",
    "INFOGAN_CR",
    "LOCATELLO",
    "Protocol",
    "SCORES",
    "active_dimensions",
    "beta_vae",
    "completeness",
    "dci",
    "disentanglement",
    "evaluate",
    "factor_vae",
    "kl_per_dimension",
    "laplacian_energy",
    "mig",
    "reconstruction_error",
    "relative_sharpness",
    "sap",
    "total_correlation",
    "two_sample_auc",
]
