"""The FactorVAE metric against plain loops, on data sets whose pixels are the factors themselves."""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from conftest import FACTOR_SIZES, factor_pixels
from torch import Tensor

from disentlib import metrics
from disentlib.data import Dataset
from disentlib.metrics import votes
from disentlib.metrics.factor_vae import active, majority_accuracy, vote_counts
from disentlib.metrics.votes import draw_votes

SMALL = replace(metrics.LOCATELLO, vote_batch=16, train_votes=300, test_votes=300, variance_points=500)
PRUNING = torch.tensor([1, 0.01, 1, 1])  # scales the second dimension below the threshold


def perfect(images: Tensor) -> Tensor:
    return images.flatten(1) * 255


def noise(images: Tensor, dims: int = 4) -> Tensor:
    """Numbers that look random but are a function of the image, as codes must be."""
    places = torch.tensor([1.0, 11.0, 131.0, 1511.0], dtype=torch.float64)
    number = (perfect(images).double() * places).sum(1, keepdim=True)
    return (torch.sin(number * 12.9898 + torch.arange(dims) * 78.233) * 43758.5453) % 1


def score(encode: Callable[[Tensor], Tensor], protocol: metrics.Protocol = SMALL, seed: int = 0) -> float:
    return metrics.factor_vae(factor_pixels(), encode, protocol=protocol, generator=torch.Generator().manual_seed(seed))


# ---- what scores what ----------------------------------------------------------------------------------------------


def test_a_perfect_code_scores_one() -> None:
    assert score(perfect) == 1


def test_a_code_that_knows_nothing_scores_near_chance() -> None:
    assert abs(score(noise, replace(SMALL, train_votes=2000, test_votes=2000)) - 1 / 4) < 0.05


def test_a_rotated_code_scores_less_than_a_perfect_one() -> None:
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    assert score(lambda images: perfect(images) / torch.tensor(FACTOR_SIZES) @ hadamard) < 0.8


def test_blind_spot_redundant_codes_still_score_one() -> None:
    assert score(lambda images: perfect(images).repeat(1, 3)) == 1


def test_blind_spot_mixed_dimensions_score_where_one_factor_dominates() -> None:
    mixing = torch.eye(4) + 0.4 * torch.eye(4).roll(1, 1)
    assert score(lambda images: perfect(images) @ mixing) > 0.95


def test_two_factors_in_one_dimension_cost_a_vote() -> None:
    merged = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert 0.6 < score(lambda images: perfect(images) @ merged) < 0.9


def test_one_dimension_can_only_name_one_factor() -> None:
    assert abs(score(lambda images: perfect(images)[:, :1]) - 1 / 4) < 0.1


# ---- dimensions that do not vote -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prune_std", [0.05, 0.0])
@pytest.mark.parametrize("value", [0.0, 0.1])  # float64 gives a constant 0.1 a variance above 0
def test_dead_dimensions_do_not_vote_whatever_the_threshold(prune_std: float, value: float) -> None:
    def encode(images: Tensor) -> Tensor:
        return torch.cat([torch.full((len(images), 2), value), perfect(images)], 1)

    assert score(encode, replace(SMALL, prune_std=prune_std)) == 1


@pytest.mark.parametrize("prune_std", [0.05, 0.0])
def test_no_active_dimension_scores_zero(prune_std: float) -> None:
    assert score(lambda images: torch.full((len(images), 3), 0.1), replace(SMALL, prune_std=prune_std)) == 0


def test_a_small_dimension_is_pruned_at_the_threshold_and_not_below() -> None:
    scale = torch.tensor([0.01, 1, 1, 1])
    assert score(lambda images: perfect(images) * scale) < 0.85
    assert score(lambda images: perfect(images) * scale, replace(SMALL, prune_std=0.001)) == 1


def test_the_threshold_itself_is_active() -> None:
    codes = torch.tensor([[0.0, 0.0], [1.0, 0.9]]).double().numpy()
    assert active(codes, math.sqrt(0.5)).tolist() == [True, False]


# ---- invariance ----------------------------------------------------------------------------------------------------


def entangled(images: Tensor) -> Tensor:
    mixing = torch.tensor([[1.0, 0.8, 0.1, 0.3], [0.2, 1, 0.9, 0.4], [0.7, 0.1, 1, 0.6], [0.2, 0.5, 0.3, 1]])
    return perfect(images) @ mixing + noise(images).float()


def test_permuting_shifting_or_scaling_dimensions_changes_nothing() -> None:
    expected = score(entangled)
    assert 0.3 < expected < 0.95
    assert score(lambda images: entangled(images)[:, [2, 0, 3, 1]]) == expected
    assert score(lambda images: entangled(images) * torch.tensor([-8.0, 0.5, 4, 2]) + 3) == expected


def test_the_generator_alone_decides() -> None:
    assert score(entangled, seed=3) == score(entangled, seed=3)
    assert len({score(entangled, seed=seed) for seed in range(5)}) > 1


# ---- against plain loops -------------------------------------------------------------------------------------------


def loops(dataset: Dataset, encode: Callable[[Tensor], Tensor], protocol: metrics.Protocol, seed: int) -> float:
    """The definition, one vote after the other, with Python's own statistics."""
    generator = torch.Generator().manual_seed(seed)

    def columns(indices: Tensor) -> list[list[float]]:
        return encode(dataset.images(indices)).double().T.tolist()

    sample = columns(dataset.index(dataset.sample_factors(protocol.variance_points, generator)))
    variances = [statistics.variance(column) for column in sample]
    dims = [i for i, variance in enumerate(variances) if math.sqrt(variance) >= protocol.prune_std]
    votes = []
    for count in (protocol.train_votes, protocol.test_votes):
        labels, batches = draw_votes(dataset, count, protocol.vote_batch, generator)
        votes.append([])
        for label, batch in zip(labels.tolist(), batches):
            local = columns(batch)
            ratios = [statistics.variance(local[i]) / variances[i] for i in dims]
            votes[-1].append((dims[ratios.index(min(ratios))], label))
    known = {}
    for dim in dims:
        labels = [label for voter, label in votes[0] if voter == dim]
        known[dim] = max(range(len(dataset.factor_sizes)), key=lambda j: (labels.count(j), -j))
    return sum(known[dim] == label for dim, label in votes[1]) / len(votes[1])


@pytest.mark.parametrize("encode", [entangled, noise, lambda images: entangled(images) * PRUNING])
def test_plain_loops_agree(encode: Callable[[Tensor], Tensor]) -> None:
    protocol = replace(SMALL, vote_batch=8, train_votes=80, test_votes=60, variance_points=200)
    for seed in range(3):
        assert score(encode, protocol, seed) == pytest.approx(loops(factor_pixels(), encode, protocol, seed), abs=1e-12)


def test_a_batch_shares_one_value_of_its_factor_and_varies_in_the_others() -> None:
    dataset = factor_pixels()
    labels, indices = draw_votes(dataset, 400, 16, torch.Generator().manual_seed(0))
    factors = dataset.factors(indices.flatten()).view(400, 16, 4)
    shared = (factors == factors[:, :1]).all(1)
    assert torch.equal(shared, torch.nn.functional.one_hot(labels, 4).bool())
    assert (labels.bincount() > 70).all()
    for j, size in enumerate(FACTOR_SIZES):  # the shared value is any of the factor's
        assert set(factors[labels == j, 0, j].tolist()) == set(range(size))


def test_ties_go_to_the_first() -> None:
    counts = vote_counts(torch.tensor([[0.5, 0.5], [0.2, 0.1]]).numpy(), torch.tensor([1, 0]).numpy(), 2)
    assert counts.tolist() == [[0, 1], [1, 0]]
    tied = torch.tensor([[2, 2], [0, 0]]).numpy()  # both dimensions become the first factor's
    assert majority_accuracy(tied, torch.tensor([[1, 0], [4, 3]]).numpy()) == 5 / 8


# ---- paths and memory ----------------------------------------------------------------------------------------------


def counted(encode: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], list[int]]:
    sizes: list[int] = []

    def wrapped(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return encode(images)

    return wrapped, sizes


def test_each_image_is_encoded_once_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    encode, sizes = counted(entangled)
    expected = score(encode)
    assert 1600 < sum(sizes) <= len(factor_pixels())  # asked for 10 100 times
    monkeypatch.setattr(votes, "_AT_ONCE", 100)
    monkeypatch.setattr(votes, "_CODES_AT_ONCE", 50)  # not a multiple of a batch
    encode, sizes = counted(entangled)
    assert score(encode) == expected
    assert sum(sizes) <= len(factor_pixels()) and max(sizes) == 100


def test_only_the_images_that_votes_look_at_are_encoded() -> None:
    encode, sizes = counted(perfect)
    few = replace(SMALL, vote_batch=4, train_votes=20, test_votes=20, variance_points=30)
    score(encode, few)
    assert 100 < sum(sizes) <= 30 + 40 * 4


def test_a_network_with_gradients_serves() -> None:
    layer = torch.nn.Linear(4, 2)
    assert 0 < score(lambda images: layer(perfect(images))) <= 1


# ---- errors --------------------------------------------------------------------------------------------------------


def test_a_data_set_without_factors_says_so() -> None:
    with pytest.raises(LookupError, match="no ground-truth factors"):
        metrics.factor_vae(replace(factor_pixels(), grid=None), perfect, protocol=SMALL, generator=torch.Generator())


def test_a_factor_with_one_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['f1'\] have a single value"):
        metrics.factor_vae(factor_pixels((3, 1)), perfect, protocol=SMALL, generator=torch.Generator())


@pytest.mark.parametrize(
    "encode, message",
    [
        (lambda images: perfect(images) / 0 * 0, "NaN or infinite"),
        (lambda images: perfect(images).flatten(), "must turn"),
        (lambda images: perfect(images)[:-1], "must turn"),
        (lambda images: perfect(images)[:, :0], "must turn"),
    ],
)
def test_codes_that_are_none_are_refused(encode: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(encode)


@pytest.mark.parametrize("name, value", [("vote_batch", 1), ("variance_points", 1), ("test_votes", 0)])
def test_a_protocol_too_small_to_compute_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        score(perfect, replace(SMALL, **{name: value}))


def test_the_protocol_must_be_named() -> None:
    with pytest.raises(TypeError, match="protocol"):
        metrics.factor_vae(factor_pixels(), perfect, generator=torch.Generator())


def test_the_published_constants() -> None:
    names = ("vote_batch", "train_votes", "test_votes", "variance_points", "prune_std")
    assert [getattr(metrics.LOCATELLO, name) for name in names] == [64, 10_000, 5_000, 10_000, 0.05]
