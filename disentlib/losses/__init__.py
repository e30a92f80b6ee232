"""Losses: pure functions of tensors, one module a family; each names its equation.

All are in nats, summed over pixels and dimensions and averaged over the batch, unless a docstring says otherwise.
"""

from disentlib.losses import adversarial, elbo, flow, total_correlation, variation

__all__ = ["adversarial", "elbo", "flow", "total_correlation", "variation"]
