"""All scores in one pass: the same as each alone, each image encoded once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import factor_pixels
from torch import Tensor

from disentlib import data, metrics
from disentlib.metrics import beta_vae, evaluate, factor_vae

SMALL = replace(
    metrics.LOCATELLO, train_points=300, test_points=200, train_votes=60, test_votes=40, vote_batch=8, vote_pairs=8,
    variance_points=200, dci_estimator="lightgbm",
)  # fmt: skip
IN_SAMPLE = replace(metrics.INFOGAN_CR, train_points=400, train_votes=80, variance_points=300)
NAMES = {"beta_vae", "factor_vae", "mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness"}
MIXING = torch.tensor([[1.0, 0.8, 0.1, 0.3], [0.2, 1, 0.9, 0.4], [0.7, 0.1, 1, 0.6], [0.2, 0.5, 0.3, 1]])


def mixed(images: Tensor) -> Tensor:
    return images.flatten(1) * 255 @ MIXING / 4


def scores(protocol: metrics.Protocol = SMALL, seed: int = 0, **options: object) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    return evaluate(factor_pixels(), mixed, protocol=protocol, generator=generator, **options)


@pytest.mark.parametrize("protocol", [SMALL, IN_SAMPLE], ids=["locatello", "infogan_cr"])
def test_all_scores_come_and_do_not_depend_on_company(protocol: metrics.Protocol) -> None:
    together = scores(protocol)
    assert set(together) == NAMES and all(0 <= value <= 1 for value in together.values())
    alone: dict[str, float] = {}
    for name in metrics.SCORES:
        alone |= scores(protocol, scores=[name])
    assert alone == together


def test_they_are_the_metrics_own_numbers() -> None:
    dataset = factor_pixels()
    seeds = torch.randint(2**62, (3,), generator=torch.Generator().manual_seed(0)).tolist()
    pairs, votes, points = (torch.Generator().manual_seed(seed) for seed in seeds)
    found = scores()
    assert found["beta_vae"] == beta_vae(dataset, mixed, protocol=SMALL, generator=pairs)
    assert found["factor_vae"] == factor_vae(dataset, mixed, protocol=SMALL, generator=votes)
    indices = dataset.index(dataset.sample_factors(500, points))
    codes, factors = mixed(dataset.images(indices)).double().numpy(), dataset.factors(indices).numpy()
    parts = (codes[:300], factors[:300], codes[300:], factors[300:])
    assert found["mig"] == metrics.mig(*parts[:2], protocol=SMALL)
    assert found["sap"] == metrics.sap(*parts, protocol=SMALL)
    assert found["dci_completeness"] == metrics.dci(*parts, protocol=SMALL).completeness


def test_each_image_is_encoded_once() -> None:
    seen: list[Tensor] = []

    def encode(images: Tensor) -> Tensor:
        seen.append(factor_pixels().index((images.flatten(1) * 255).round().long()))
        return mixed(images)

    evaluate(factor_pixels(), encode, protocol=SMALL, generator=torch.Generator())
    indices = torch.cat(seen)
    assert len(indices) == len(indices.unique()) > 1000


def test_the_generator_decides_and_workers_do_not() -> None:
    assert scores(seed=1) == scores(seed=1, workers=2)
    assert scores(seed=1) != scores(seed=2)


def test_the_data_set_says_which_factors_have_no_order() -> None:
    plain = factor_pixels()
    marked = replace(plain, grid=replace(plain.grid, nominal=("f1",)))
    asked = {"protocol": IN_SAMPLE, "scores": ["sap"]}
    one, other = (evaluate(d, mixed, generator=torch.Generator(), **asked)["sap"] for d in (plain, marked))
    assert one != other
    assert marked.content_hash() == plain.content_hash()  # the images are the same


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="unknown score 'mug'; known: beta_vae, factor_vae, mig, sap, dci"):
        scores(scores=["mig", "mug"])
    with pytest.raises(TypeError, match="protocol"):
        evaluate(factor_pixels(), mixed, generator=torch.Generator())
    digits = data.load("mnist", source="rendered")
    with pytest.raises(LookupError, match="no ground-truth factors"):
        evaluate(digits, lambda images: images.flatten(1), protocol=SMALL, generator=torch.Generator())
    with pytest.raises(ValueError, match="NaN or infinite"):
        evaluate(factor_pixels(), lambda x: mixed(x) / 0, protocol=SMALL, generator=torch.Generator())
    assert scores(scores=[]) == {}


def test_nominal_factors_must_exist() -> None:
    with pytest.raises(ValueError, match="not all among"):
        data.FactorGrid(("a", "b"), (2, 3), nominal=("c",))
