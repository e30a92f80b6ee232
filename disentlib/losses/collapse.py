"""When representations that are all alike are a trap for the two-temperature contrastive loss (reading S2).

Let all normalised representations be one point but for small deviations. To second order the loss of eq. 6 is then

    L ≈ L(identical) + D⁺/(2 τ1) − D/(2 τ2),

with `D⁺` the mean squared distance of an anchor to the others of its class and `D` that to all others. So the loss
falls towards the single point unless `D/D⁺ > τ2/τ1`. With τ1 = τ2 any sign of the classes is enough to leave it. With
the printed pair, 0.07 and 0.1, distances to all others must be 1.43 times those within the class: what the pairs do not
show clearly is pulled together before it can be told apart.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["distance_ratio", "escape_ratio"]


def escape_ratio(tau1: float, tau2: float) -> float:
    """`τ2/τ1`: what `distance_ratio` must exceed if nearly identical representations are to be driven apart.

    ValueError for τ ≤ 0.

    >>> round(escape_ratio(0.07, 0.1), 2)
    1.43
    """
    if not (tau1 > 0 and tau2 > 0):
        raise ValueError(f"tau1 and tau2 must be above 0, got {tau1!r} and {tau2!r}")
    return tau2 / tau1


def distance_ratio(within: Tensor | float, between: Tensor | float, classes: int) -> Tensor | float:
    """`D/D⁺` of `classes` equally frequent classes from mean cosines within and between them; 1 if nothing is told.

    Squared distances of unit vectors are `2 − 2·cosine`; of the others, one in `classes` is of the anchor's class.

    >>> distance_ratio(0.5, 0.0, classes=2)
    1.5
    """
    share = 1 / classes
    return share + (1 - share) * (1 - between) / (1 - within)
