"""What ID-GAN and IB-GAN add to the adversarial loss: a posterior's likelihood, bounds on information, R1, noise."""

from __future__ import annotations

import math

from torch import Tensor

from disentlib.losses.image_gan import r1_penalty

__all__ = ["gaussian_nll", "information_bound", "instance_noise", "linear_decay", "signed_r1_penalty"]

VARIANCE_FLOOR = (
    1e-8  # as published for ID-GAN: a frozen encoder may be absurdly sure of an image that no data resemble
)
SIGNED_PER_PIXEL = 2.0  # the published GANs scale pixels to [−1, 1]: two of their units are one of ours


def gaussian_nll(codes: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """`−ln N(c; μ, σ²)` in nats, summed over dimensions, batch mean: ID-GAN's `−E[ln Q(c|x)]` (Lee et al. 2020).

    `½ Σ_j [ln 2π + ln σ_j² + (c_j − μ_j)² / (σ_j² + 1e-8)]`. `codes`, `mean`, `logvar`: `[n, d]`.

    >>> import torch
    >>> round(gaussian_nll(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 2)).item(), 3)  # ln 2π
    1.838
    """
    distance = (codes - mean).square() / (logvar.exp() + VARIANCE_FLOOR)
    return 0.5 * (math.log(2 * math.pi) + logvar + distance).sum(1).mean()


def information_bound(noise: Tensor, predicted: Tensor) -> Tensor:
    """`E[ln q(z|x) − ln p(z)] = ½ E[‖z‖² − ‖z − ẑ(x)‖²]` in nats, a lower bound of `I(z; x)` (Jeon et al. 2021).

    With `q(z|x) = N(ẑ(x), I)` and `p(z) = N(0, I)`; for independent z and ẑ it is at most 0 on average, and never above
    d/2 on average. IB-GAN maximises it. Its upper bound, `E[KL(N(μ_r, σ_r²) ‖ N(0, I))]`, is `elbo.gaussian_kl`.
    `noise`, `predicted`: `[n, d]`.

    >>> import torch
    >>> information_bound(torch.ones(4, 2), torch.ones(4, 2)).item()
    1.0
    """
    noise, predicted = noise.float(), predicted.float()
    return 0.5 * (noise.square() - (noise - predicted).square()).sum(1).mean()


def signed_r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """`image_gan.r1_penalty` per pixel scaled to [−1, 1], as in published code, so that published weights hold.

    That is a quarter of the penalty per pixel in [0, 1], which `images` `[n, c, h, w]` are.

    >>> import torch
    >>> pixels = torch.zeros(2, 1, 2, 2, requires_grad=True)
    >>> signed_r1_penalty(3 * pixels.sum((1, 2, 3)), pixels).item()  # 4 · (3 / 2)²
    9.0
    """
    return r1_penalty(logits, images) / SIGNED_PER_PIXEL**2


def linear_decay(step: Tensor, start: float, steps: int) -> Tensor:
    """`start · max(0, 1 − step / steps)`: from `start` before the first step to 0 at `steps`, a tensor as `step` is.

    >>> import torch
    >>> linear_decay(torch.tensor(25), start=1.0, steps=100).item()
    0.75
    """
    return start * (1 - step / steps).clamp(min=0)


def instance_noise(images: Tensor, noise: Tensor, scale: Tensor | float) -> Tensor:
    """Images in [0, 1] plus `scale` times standard normal `noise`, cut to [0, 1] again (IB-GAN's published code).

    `scale`: in units of the published range [−1, 1], where 1 is half of the range. All `[n, c, h, w]`.

    >>> import torch
    >>> instance_noise(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 9.0]), 1.0).tolist()
    [0.75, 1.0]
    """
    return (images + scale / SIGNED_PER_PIXEL * noise).clamp(0, 1)
