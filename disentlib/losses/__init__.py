"""Losses: pure functions of tensors, one module a family; each names its equation.

All are in nats, summed over pixels and dimensions and averaged over the batch, unless a docstring says otherwise.
"""

from disentlib.losses import (
    adversarial,
    collapse,
    contrastive,
    density_ratio,
    dip,
    distillation,
    elbo,
    flow,
    image_gan,
    information,
    total_correlation,
    variation,
)

__all__ = [
    "adversarial",
    "collapse",
    "contrastive",
    "density_ratio",
    "dip",
    "distillation",
    "elbo",
    "flow",
    "image_gan",
    "information",
    "total_correlation",
    "variation",
]
