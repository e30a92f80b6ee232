"""What the chapters on Glow and on directions show: exact where a flow is exact, and told from chance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import in_memory
from scipy.linalg import subspace_angles
from torch import Tensor

from disentlib import flow_figures
from disentlib.data import FactorGrid
from disentlib.experiments import direction_tables, flows
from disentlib.experiments.studies import plan
from disentlib.metrics.traversals import Scale
from disentlib.models import Glow
from disentlib.models.frozen_flow import FrozenFlow

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def glow() -> Glow:
    """A small flow that is not the identity, with levels that depend on one another."""
    model = Glow((1, 8, 8), levels=2, steps_per_level=1, width=8)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Mid-grey images, so that nothing that is drawn is cut at 0 or 1."""
    return 0.4 + 0.2 * torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class MeanReader:
    """An instrument that reads the mean of an image."""

    scales = (Scale("mean"),)

    def __call__(self, pictures: Tensor) -> np.ndarray:
        return pictures.mean((1, 2, 3))[:, None].numpy()

    def summary(self) -> str:
        return "exact"


# ---- Glow ----------------------------------------------------------------------------------------------------------


def test_the_studies_share_one_flow() -> None:
    """The chapter's Glow is the parent of every direction method, at whatever seed they search."""
    for profile in ("smoke", "laptop", "paper"):
        main = plan("glow", profile)[0].id
        children = [*plan("disgu_table1", profile), *plan("directions", profile)]
        assert {job.spec.parents["glow"].id for job in children if job.spec.parents} == {main}


def test_only_the_right_way_back_gives_the_image(glow: Glow, images: Tensor) -> None:
    ways = flows.round_trips(glow, images)
    assert [torch.allclose(back, images, atol=1e-4) for back in ways.values()] == [True, True, False]
    lines = flows.errors(images, {"same": images, "off": images + 2 / 255})
    assert [float(v) for v in lines[0][1:]] == [0, 0]
    assert [float(v) for v in lines[1][1:]] == pytest.approx([2, 2], rel=0.05)


def test_samples_of_one_column_share_their_noise(glow: Glow) -> None:
    grid = flows.sampled(glow, [0.0, 0.5], 3, seed=2)
    assert torch.equal(grid[0, 0], grid[0, 1]) and not torch.equal(grid[1, 0], grid[1, 1])
    noise = glow.sample_eps(3, 1.0, torch.Generator().manual_seed(2))
    assert torch.equal(grid[1], glow.from_eps([0.5 * level for level in noise]))


def test_redrawing_a_level_leaves_the_others_as_they_are(glow: Glow, images: Tensor) -> None:
    """Looked at through the flow itself: its latents of the drawn images, level by level."""
    found = flows.redraw(glow, images, MeanReader(), draws=3, temperature=0.05, seed=0)
    before = glow.eps(images[:1])
    assert found.images.shape == (5, 4, 1, 8, 8) and len(found.summaries) == len(found.pixel_change) == 5
    redrawn = [[True, False], [False, True], [True, False], [True, True]]  # fine, top, all but the top, all
    for row, levels in zip(found.images, redrawn):
        assert torch.equal(row[0], images[0])
        after = glow.eps(row[1:])
        same = [torch.allclose(new, old.expand_as(new), atol=1e-3) for new, old in zip(after, before)]
        assert same == [not level for level in levels]
    raw = glow.raw(found.images[4][1:])
    assert torch.allclose(raw[0], glow.raw(images[:1])[0].expand_as(raw[0]), atol=1e-3)
    assert "mean" in flows.redrawn_table(found, "c").text
    assert flows.redrawn_figure(found, found.names).axes


def test_walks_end_where_they_should(glow: Glow, images: Tensor) -> None:
    walks = list(flows.walks(glow, images[0], images[1], columns=5).values())
    for walk in walks:
        assert torch.allclose(walk[0], images[0], atol=1e-3)
    assert [torch.allclose(walk[-1], images[1], atol=1e-3) for walk in walks] == [True, True, True, False]
    top, rest = glow.eps(walks[3][-1:])[1], glow.eps(walks[3][-1:])[0]
    assert torch.allclose(top, glow.eps(images[1:2])[1], atol=1e-3)
    assert torch.allclose(rest, glow.eps(images[:1])[0], atol=1e-3)


def test_an_arc_keeps_the_length_that_a_line_loses() -> None:
    share = torch.linspace(0, 1, 3)
    ends = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert flows._arc(ends, share).norm(dim=1).tolist() == pytest.approx([2, 2, 2])
    assert flows._line(ends, share).norm(dim=1).tolist() == pytest.approx([2, math.sqrt(2), 2])


def test_likelihoods_are_bits_of_the_models_own(glow: Glow, images: Tensor) -> None:
    groups = flows.strange_images(images, seed=0)
    assert groups["data"] is images and all(x.shape == images.shape for x in groups.values())
    assert torch.equal(groups["pixels shuffled"].flatten().sort()[0], images.flatten().sort()[0])
    bits = flows.likelihoods(glow, {"data": images}, seed=3)["data"]
    log_p = glow.log_prob(images, torch.Generator().manual_seed(3))
    assert torch.allclose(bits, (-log_p / math.log(2) / 64).detach())
    text = flows.likelihood_table({"data": torch.tensor([1.0, 3.0]), "other": torch.tensor([1.5, 1.5])}, "c").text
    assert "<td>other</td><td>1.50</td><td>100%</td>" in text


def test_figure_5_names_every_size() -> None:
    figure = flow_figures.multi_scale((3, 32, 32), [(6, 16, 16), (12, 8, 8), (48, 4, 4)], steps=7)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [t.split("\n")[1] for t in texts if t.startswith("latents")] == ["6 × 16 × 16", "12 × 8 × 8", "48 × 4 × 4"]
    assert texts.count("7 flow steps") == 3 and texts.count("split") == 2
    with pytest.raises(ValueError, match="at least one level"):
        flow_figures.multi_scale((3, 32, 32), [], steps=7)


# ---- directions ----------------------------------------------------------------------------------------------------


def test_overlap_is_that_of_the_principal_angles() -> None:
    g = torch.Generator().manual_seed(0)
    first, second = (torch.randn(30, 4, generator=g) for _ in range(2))
    expected = np.cos(subspace_angles(first.numpy(), second.numpy()))
    assert direction_tables.principal_cosines(first, second).tolist() == pytest.approx(sorted(expected)[::-1], abs=1e-5)
    assert direction_tables.overlap(first, first @ torch.randn(4, 4, generator=g)) == pytest.approx(1, abs=1e-4)
    many = [direction_tables.overlap(*torch.randn(2, 30, 4, generator=g)) for _ in range(200)]
    assert np.mean(many) == pytest.approx(4 / 30, abs=0.01)


def test_a_shifted_image_moves_along_the_direction_alone(glow: Glow, images: Tensor) -> None:
    frozen = FrozenFlow(glow, "top")
    matrix = direction_tables.random_directions(frozen, 3, seed=0)
    assert torch.allclose(matrix.T @ matrix, torch.eye(3), atol=1e-5)
    shifted = direction_tables.Shifted(frozen, matrix)
    codes = shifted.encode(images)
    assert codes.shape == (4, shifted.code_dims) and codes[:, :3].abs().max() == 0
    assert torch.allclose(shifted.decode(codes), images, atol=1e-4)
    codes[:, 1] = 0.3
    moved = frozen.latents(shifted.decode(codes)) - frozen.latents(images)
    expected = 0.3 * frozen.strength * torch.tensor([0.0, 1.0, 0.0])
    assert torch.allclose(frozen.coordinates(moved, matrix), expected.expand(4, 3), atol=1e-3)
    assert moved[:, : frozen.total - frozen.dims].abs().max() < 1e-3


def test_traversals_and_their_coverage(glow: Glow, images: Tensor) -> None:
    frozen = FrozenFlow(glow, "top")
    dataset = in_memory(images, "greys", FactorGrid(("mean",), (4,)))
    matrix = direction_tables.random_directions(frozen, 2, seed=0)
    measured = direction_tables.traversed(frozen, matrix, dataset, MeanReader(), 2, 0.2, columns=3)
    assert measured.images.shape == (2, 3, 1, 8, 8)
    assert torch.allclose(measured.images[0, 1], measured.images[1, 1], atol=1e-4)  # the middle is the image itself
    assert direction_tables.first_rows(measured, [1], "x").axes
    text = direction_tables.coverage({"some": measured}, 1, "c").text
    assert "<td>2 of 2</td>" in text and "<td>1 of 1</td><td>mean</td>" in text
    change = direction_tables.image_change(frozen, matrix, 0.2, 4, 0.1, seed=0)
    assert len(change) == 2 and all(0 < c < 0.2 for c in change)


def test_a_flat_spectrum_has_its_full_effective_number() -> None:
    text = direction_tables.spectrum_table({"flat": [2.0] * 8, "one": [1.0, *[1e-12] * 7]}, 4, "c").text
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)][1:]
    assert rows[0] == ["flat", "8", "1.00", "1.00", "8"] and rows[1][4] == "1"


def test_a_perfect_code_scores_one_and_noise_scores_little() -> None:
    factors = np.stack(np.meshgrid(range(4), range(3), range(25)), -1).reshape(-1, 3)[:, :2]
    factors = np.random.default_rng(0).permutation(factors)
    good = direction_tables._scored(torch.tensor(factors).float(), factors)
    noise = torch.randn(len(factors), 4, generator=torch.Generator().manual_seed(0))
    bad = direction_tables._scored(noise, factors)
    assert float(good[0]) > 0.99 and float(good[1]) > 0.9 and float(bad[0]) < 0.1 and float(bad[1]) < 0.3
