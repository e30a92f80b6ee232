"""Adversarial losses, all on logits: for latents (β-GVAE) now, for images with the GAN chapters."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["ADVERSARIAL_TERMS", "adversarial_term", "discriminator_loss"]

ADVERSARIAL_TERMS = ("probability", "log", "logit")


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """`−E[ln D(real)] − E[ln(1 − D(fake))]` in nats, with `D = sigmoid(logit)` (β-GVAE paper, eqs. 5 and 6).

    For β-GVAE *real* is a prior sample (label 1) and *fake* an encoder sample (label 0), reading G2.
    A discriminator that knows nothing pays `2 ln 2 ≈ 1.386`. Logits `[n]` or `[n, 1]`.

    >>> import torch
    >>> round(discriminator_loss(torch.zeros(4), torch.zeros(4)).item(), 3)
    1.386
    """
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def adversarial_term(fake_logits: Tensor, form: str) -> Tensor:
    """What the encoder maximises: how much the discriminator takes its codes for prior samples (eq. 7, reading G3).

    `form`: "probability" is `D` as printed, in [0, 1], gradient `D(1 − D) ≤ ¼` per logit; "log" is `ln D ≤ 0`, gradient
    `1 − D`; "logit" is `ln D − ln(1 − D)`, gradient 1. Batch mean. The loss to minimise holds `−γ` times this.

    >>> import torch
    >>> adversarial_term(torch.zeros(4), "probability").item()
    0.5
    """
    if form not in ADVERSARIAL_TERMS:
        raise ValueError(f"unknown adversarial_term {form!r}; known: {', '.join(ADVERSARIAL_TERMS)}")
    logits = fake_logits.float()
    return {"probability": logits.sigmoid, "log": lambda: F.logsigmoid(logits), "logit": lambda: logits}[form]().mean()
