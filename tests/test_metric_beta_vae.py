"""The β-VAE metric: its pairs, its value against loops, what it sees and what it is blind to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import metric_references
import numpy as np
import pytest
import torch
from conftest import FACTOR_SIZES, factor_pixels
from torch import Tensor

from disentlib import metrics
from disentlib.metrics.beta_vae import draw_pairs, mean_differences, plan
from disentlib.metrics.votes import look_up_codes

SMALL = replace(metrics.LOCATELLO, train_votes=400, test_votes=200, vote_pairs=16)
IN_SAMPLE = replace(metrics.INFOGAN_CR, train_votes=200, vote_pairs=16)


def perfect(images: Tensor) -> Tensor:
    return images.flatten(1) * 255


def noise(images: Tensor) -> Tensor:
    number = (perfect(images).double() * torch.tensor([1.0, 11.0, 131.0, 1511.0])).sum(1, keepdim=True)
    return (torch.sin(number * 12.9898 + torch.arange(4) * 78.233) * 43758.5453) % 1


def score(encode: Callable[[Tensor], Tensor], protocol: metrics.Protocol = SMALL, seed: int = 0) -> float:
    return metrics.beta_vae(factor_pixels(), encode, protocol=protocol, generator=torch.Generator().manual_seed(seed))


def test_pairs_share_their_factor_and_nothing_else() -> None:
    dataset = factor_pixels()
    labels, indices = draw_pairs(dataset, 300, 20, torch.Generator().manual_seed(0))
    factors = dataset.factors(indices.flatten()).view(300, 20, 2, 4)
    equal = factors[:, :, 0] == factors[:, :, 1]
    own = torch.nn.functional.one_hot(labels, 4).bool()
    assert equal[own[:, None].expand_as(equal)].all()
    others = equal[~own[:, None].expand_as(equal)].float().mean()
    assert abs(others - np.mean([1 / s for s in FACTOR_SIZES])) < 0.02
    shared = factors[:, :, 0][own[:, None].expand_as(equal)].view(300, 20)
    assert (shared != shared[:, :1]).any(1).all()  # its value differs from pair to pair
    assert (labels.bincount() > 40).all()


def test_balanced_votes_take_the_factors_in_turn() -> None:
    (votes,) = plan(factor_pixels(), IN_SAMPLE, torch.Generator())
    assert votes.labels[:9].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_features_are_mean_absolute_differences() -> None:
    dataset = factor_pixels()
    votes = draw_pairs(dataset, 7, 5, torch.Generator().manual_seed(1))
    features = mean_differences(look_up_codes(dataset, perfect, votes.indices.flatten()), votes.indices)
    for row, pairs in zip(features, votes.indices):
        differences = [abs(dataset.factors(pair)[0] - dataset.factors(pair)[1]).tolist() for pair in pairs]
        assert row.tolist() == pytest.approx([sum(column) / 5 for column in zip(*differences)])


@pytest.mark.parametrize("protocol", [SMALL, IN_SAMPLE], ids=["locatello", "infogan_cr"])
@pytest.mark.parametrize("seed", [0, 1])
def test_loops_on_the_same_pairs_agree(protocol: metrics.Protocol, seed: int) -> None:
    mixing = torch.tensor([[1.0, 0.8, 0.1, 0.3], [0.2, 1, 0.9, 0.4], [0.7, 0.1, 1, 0.6], [0.2, 0.5, 0.3, 1]])

    def encode(images: Tensor) -> Tensor:
        return perfect(images) @ mixing / 8

    dataset, generator = factor_pixels(), torch.Generator().manual_seed(seed)
    points = []
    for votes in plan(dataset, protocol, generator):
        codes = encode(dataset.images(votes.indices.flatten())).view(*votes.indices.shape, -1).double().tolist()
        means = [[sum(abs(a[i] - b[i]) for a, b in v) / len(v) for i in range(4)] for v in codes]
        points.append((np.array(means), votes.labels.tolist()))
    expected = metric_references.logistic_accuracy(*points[0], *points[-1])
    assert 0.5 < expected < 1
    assert score(encode, protocol, seed) == pytest.approx(expected, abs=0.011)  # float32 codes, one vote or two


def test_an_independent_draw_gives_the_same_within_its_error() -> None:
    """Same encoder, other pairs: two shares of 1 000 votes each differ by less than 4 standard errors."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0] / 4

    def codes_of(factors: np.ndarray) -> np.ndarray:
        return factors @ turn

    few = replace(SMALL, train_votes=500, test_votes=1000, vote_pairs=4)
    ours = score(lambda images: perfect(images) @ torch.from_numpy(turn).float(), few)
    sizes = {"train_points": 500, "test_points": 1000, "pairs": 4}
    theirs = metric_references.beta_vae(codes_of, FACTOR_SIZES, np.random.default_rng(1), **sizes)
    assert 0.4 < theirs < 0.95
    assert abs(ours - theirs) < 4 * (2 * theirs * (1 - theirs) / 1000) ** 0.5


def test_a_perfect_code_scores_one_and_noise_about_chance() -> None:
    assert score(perfect) > 0.99
    many = replace(SMALL, train_votes=2000, test_votes=2000)
    assert abs(score(noise, many) - 1 / 4) < 0.05


def test_blind_spot_a_rotation_and_a_copy_of_a_perfect_code_do_well() -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    spread = torch.tensor(FACTOR_SIZES).float()
    assert score(lambda images: perfect(images) / spread * 12 @ turn) > 0.65  # chance is 0.25
    assert score(lambda images: perfect(images).repeat(1, 3)) > 0.99


def test_a_constant_code_scores_chance_and_is_legal() -> None:
    assert score(lambda images: torch.full((len(images), 3), 0.1)) < 0.4


def test_order_and_sign_of_dimensions_do_not_matter() -> None:
    expected = score(lambda images: perfect(images) / 8)
    assert score(lambda images: -perfect(images)[:, [2, 0, 3, 1]] / 8 + 5) == pytest.approx(expected, abs=0.011)


def test_the_generator_alone_decides() -> None:
    def dull(images: Tensor) -> Tensor:
        return perfect(images) / 200

    assert score(dull, seed=3) == score(dull, seed=3)
    assert len({score(dull, seed=seed) for seed in range(5)}) > 1


def test_one_label_among_few_votes_is_no_error() -> None:
    assert score(perfect, replace(SMALL, train_votes=1, test_votes=40)) < 0.6


def test_a_data_set_without_factors_says_so() -> None:
    bare = replace(factor_pixels(), grid=None)
    with pytest.raises(LookupError, match="no ground-truth factors"):
        metrics.beta_vae(bare, perfect, protocol=SMALL, generator=torch.Generator())


def test_bad_settings_and_codes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\['f1'\] have a single value"):
        metrics.beta_vae(factor_pixels((3, 1)), perfect, protocol=SMALL, generator=torch.Generator())
    with pytest.raises(ValueError, match="vote_pairs must be at least 1"):
        score(perfect, replace(SMALL, vote_pairs=0))
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(lambda images: perfect(images) / 0 * 0)
    with pytest.raises(ValueError, match="must turn"):
        score(lambda images: perfect(images)[:, :0])
    with pytest.raises(TypeError, match="protocol"):
        metrics.beta_vae(factor_pixels(), perfect, generator=torch.Generator())


def test_bfloat16_codes_serve() -> None:
    assert score(lambda images: perfect(images).bfloat16()) > 0.95
