"""Cheap signs of a GAN's collapse: are images empty, all alike, easy to tell from real ones, and do codes count?"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

__all__ = ["code_recovery", "image_signs", "two_sample_auc"]


def image_signs(generated: Tensor, real: Tensor) -> dict[str, float]:
    """What the generated images have of the real ones', `[n, c, h, w]` each in [0, 1].

    `pixel_std_ratio`: mean over pixels of the standard deviation over images, generated to real; 0 when all images are
    alike. `foreground_ratio`: mean brightness, generated to real; 0 when images are empty. `two_sample_auc`: below.

    >>> images = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> image_signs(images, images)["pixel_std_ratio"]
    1.0
    """
    spread, brightness = (_ratio(f(generated), f(real)) for f in (lambda x: x.std(0).mean(), lambda x: x.mean()))
    return {
        "pixel_std_ratio": spread,
        "foreground_ratio": brightness,
        "two_sample_auc": two_sample_auc(generated, real),
    }


def two_sample_auc(generated: Tensor, real: Tensor) -> float:
    """How well a logistic regression tells the two, as area under the ROC curve on held-out images.

    About 0.5 when it cannot, 1 when it always can. It sees each image averaged to at most 8×8 pixels, and its
    brightest pixel and standard deviation. Even rows train it and odd rows test it; at least 8 images of each kind.

    >>> two_sample_auc(torch.zeros(20, 1, 8, 8), torch.rand(20, 1, 8, 8))
    1.0
    """
    if min(len(generated), len(real)) < 8:
        raise ValueError(f"two_sample_auc needs 8 images of each kind, got {len(generated)} and {len(real)}")
    features = [_statistics(images) for images in (generated, real)]
    train, test = (np.concatenate([x[start::2] for x in features]) for start in (0, 1))
    said, truth = (np.repeat([0, 1], [len(x[start::2]) for x in features]) for start in (0, 1))
    scaler = StandardScaler().fit(train)
    classifier = LogisticRegression(C=0.1, max_iter=200).fit(scaler.transform(train), said)
    return float(roc_auc_score(truth, classifier.decision_function(scaler.transform(test))))


def code_recovery(recovered: Tensor, codes: Tensor) -> list[float]:
    """`R²` of each dimension, `1 − Σ(ĉ − c)² / Σ(c − mean c)²`, of codes read from images, `[n, d]` each.

    1 when a code is read exactly, 0 when only its mean is known, below when worse.

    >>> code_recovery(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [2.0]]))
    [1.0]
    """
    error, spread = (recovered - codes).double().square().sum(0), (codes - codes.mean(0)).double().square().sum(0)
    return (1 - error / spread).tolist()


def _ratio(top: Tensor, bottom: Tensor) -> float:
    return (top / bottom.clamp(min=1e-12)).item()


def _statistics(images: Tensor) -> np.ndarray:
    flat = images.flatten(1).float()
    small = F.adaptive_avg_pool2d(images.float(), min(8, images.shape[-1])).flatten(1)
    return torch.cat([small, flat.amax(1, keepdim=True), flat.std(1, keepdim=True)], dim=1).cpu().double().numpy()
