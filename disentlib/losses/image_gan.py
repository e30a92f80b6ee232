"""Adversarial losses of image GANs, all on logits; the discriminator's is the one that β-GVAE uses on codes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib.losses.adversarial import discriminator_loss

__all__ = ["GENERATOR_LOSSES", "discriminator_loss", "generator_loss", "r1_penalty"]

GENERATOR_LOSSES = ("non_saturating", "saturating")


def generator_loss(fake_logits: Tensor, form: str = "non_saturating") -> Tensor:
    """What the generator minimises, in nats, batch mean; logits `[n]` of its images (IDGAN-SC paper, eq. 4).

    "non_saturating": `−E[ln D(G)]`, gradient `D − 1` per logit (reading S10). "saturating": `E[ln(1 − D(G))]` as
    printed, gradient `−D`, which vanishes where the discriminator is sure of a fake. ValueError for another form.

    >>> round(generator_loss(torch.zeros(4)).item(), 3)  # ln 2
    0.693
    """
    if form not in GENERATOR_LOSSES:
        raise ValueError(f"unknown generator_loss {form!r}; known: {', '.join(GENERATOR_LOSSES)}")
    logits = fake_logits.float()
    return F.softplus(-logits).mean() if form == "non_saturating" else -F.softplus(logits).mean()


def r1_penalty(real_logits: Tensor, images: Tensor) -> Tensor:
    """`E‖∇_x logit(x)‖²` on real images: squared, summed over pixels, batch mean, without a ½ (Mescheder et al. 2018).

    `real_logits` `[n]` must have been computed from `images` `[n, c, h, w]`, each from its own image only. Its gradient
    reaches the discriminator. ValueError unless `images` requires a gradient.

    >>> images = torch.ones(2, 1, 2, 2, requires_grad=True)
    >>> r1_penalty(3 * images.sum((1, 2, 3)), images).item()  # 4 pixels, gradient 3
    36.0
    """
    if not images.requires_grad:
        raise ValueError("r1_penalty needs images with requires_grad=True, got images without")
    (gradient,) = torch.autograd.grad(real_logits.float().sum(), images, create_graph=True)
    return gradient.float().square().sum() / len(images)
