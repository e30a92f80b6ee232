"""Whether identical representations are a trap: the second-order law against the loss itself, and against descent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from disentlib.losses.collapse import distance_ratio, escape_ratio
from disentlib.losses.contrastive import mean_cosines, normalise, two_temperature_loss

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = torch.arange(60) % 5


def nearly_alike(class_spread: float, size: float, seed: int = 0) -> Tensor:
    """Unit vectors round one point: deviations of the classes, `class_spread` times those within them."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.zeros(16, dtype=torch.float64)
    centre[0] = 1
    means, own = (torch.randn(n, 15, generator=generator, dtype=torch.float64) for n in (5, 60))
    means -= means.mean(0)
    deviations = torch.cat([torch.zeros(60, 1, dtype=torch.float64), class_spread * means[LABELS] + own], 1)
    return normalise(centre + size * deviations)


def ratio(vectors: Tensor) -> float:
    """`D/D⁺` by its definition: a loop over anchors."""
    squares = torch.cdist(vectors, vectors) ** 2
    same = (LABELS[:, None] == LABELS).fill_diagonal_(False)
    others = ~torch.eye(60, dtype=torch.bool)
    parts = [(squares[i][others[i]].mean(), squares[i][same[i]].mean()) for i in range(60)]
    everything, within = (sum(values) for values in zip(*parts))
    return float(everything / within)


def test_the_ratio_from_cosines_is_that_of_distances() -> None:
    vectors = nearly_alike(0.7, 0.2)
    within, between = mean_cosines(vectors, LABELS)
    # 11 of 59 others are of the anchor's class, not 1 in 5: with few of each the share is a little smaller
    assert distance_ratio(within, between, 59 / 11).item() == pytest.approx(ratio(vectors), rel=1e-6)


@pytest.mark.parametrize("taus", [(0.07, 0.1), (0.1, 0.1), (0.2, 0.1), (0.1, 0.3)])
@pytest.mark.parametrize("class_spread", [0.0, 0.3, 1.0, 3.0])
def test_the_loss_falls_away_from_the_single_point_where_the_ratio_says_so(
    taus: tuple[float, float], class_spread: float
) -> None:
    single = nearly_alike(class_spread, 0.0)
    vectors = nearly_alike(class_spread, 1e-3)
    change = two_temperature_loss(vectors, LABELS, *taus) - two_temperature_loss(single, LABELS, *taus)
    squares = torch.cdist(vectors, vectors) ** 2
    same = (LABELS[:, None] == LABELS).fill_diagonal_(False)
    law = squares[same].mean() / (2 * taus[0]) - squares.sum() / (60 * 59) / (2 * taus[1])
    assert change.item() == pytest.approx(law.item(), rel=1e-3)
    assert (change < 0) == (ratio(vectors) > escape_ratio(*taus))


@pytest.mark.parametrize(("taus", "class_spread", "collapses"), [
    ((0.1, 0.1), 0.1, False), ((0.07, 0.1), 0.1, True), ((0.07, 0.1), 4.0, False), ((0.05, 0.1), 0.3, True),
])  # fmt: skip
def test_descent_ends_where_the_law_says(taus: tuple[float, float], class_spread: float, collapses: bool) -> None:
    """A linear map may weigh the inputs' directions: it finds the classes, or gives everything one code."""
    inputs = nearly_alike(class_spread, 0.05)
    weights = torch.eye(16, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.02)
    for _ in range(400):
        optimiser.zero_grad()
        two_temperature_loss(normalise(inputs @ weights), LABELS, *taus).backward()
        optimiser.step()
    between = mean_cosines(inputs @ weights.detach(), LABELS)[1].item()
    assert between > 0.999 if collapses else between < 0.95


def test_a_temperature_must_be_above_0() -> None:
    with pytest.raises(ValueError, match="above 0"):
        escape_ratio(0.0, 0.1)
