"""Measured traversals: an oracle is named right in every row, a rotated one shows two factors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import in_memory
from matplotlib.colors import to_rgb
from torch import Tensor

from disentlib import data
from disentlib.data import Dataset, FactorGrid, dsprites
from disentlib.experiments import factor_reader, readers
from disentlib.experiments.factor_reader import FactorReader, Settings, fit, scales_of, true_traversals
from disentlib.experiments.measured import base_codes, illegible, legibility, measured_traversal, stroke_reader
from disentlib.experiments.readers import read_factors
from disentlib.metrics.traversals import RowSummary, Scale
from disentlib.traversal_figures import measured_grid, number_lines

pytestmark = pytest.mark.usefixtures("one_thread")
GRID = FactorGrid(("shape", "scale", "pos_x", "pos_y"), (2, 3, 5, 5), nominal=("shape",))
QUICK = Settings(images=150, steps=400, batch_size=32)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def sprites_at(factors: Tensor) -> Tensor:
    """A few of the real data set's sprites: squares and ellipses, three sizes, five by five places."""
    shape, scale, x, y = factors.T
    whole = torch.stack([shape, 2 * scale + 1, torch.zeros_like(x), 7 * x + 2, 7 * y + 2], dim=1)
    return dsprites.shrink(dsprites.draw(whole), 16)[:, None]


@pytest.fixture(scope="module")
def sprites() -> Dataset:
    return in_memory(sprites_at(GRID.factors(torch.arange(len(GRID)))), "sprites", GRID)


@pytest.fixture(scope="module")
def reader(sprites: Dataset) -> FactorReader:
    torch.set_num_threads(1)
    return fit(sprites, QUICK, seed=0)


class Oracle:
    """The renderer as a model: code dimension i is factor i, scaled to [−1, 1]; `turn` mixes the last two."""

    code_dims = 4

    def __init__(self, sprites: Dataset, turn: float = 0.0) -> None:
        self.sprites, self.top = sprites, torch.tensor(GRID.sizes) - 1
        self.mixing = torch.eye(4)
        self.mixing[2:, 2:] = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])

    def encode(self, images: Tensor) -> Tensor:
        every = self.sprites.images(torch.arange(len(self.sprites)))
        found = (images[:, None] - every).flatten(2).abs().sum(2).argmin(1)
        return (2 * self.sprites.factors(found) / self.top - 1) @ self.mixing

    def decode(self, codes: Tensor) -> Tensor:
        factors = ((codes @ self.mixing.T + 1) / 2 * self.top).round().clamp(min=0).minimum(self.top).long()
        return self.sprites.images(self.sprites.index(factors))


# ---- the instrument ------------------------------------------------------------------------------------------------


def test_the_reader_knows_the_factors_and_its_own_skill(reader: FactorReader, sprites: Dataset) -> None:
    indices = torch.arange(len(sprites))
    readings, truth = reader(sprites.images(indices)), sprites.factors(indices).numpy()
    assert readings.shape == (150, 4) and (readings[:, 0] == truth[:, 0]).mean() > 0.9
    assert abs(readings[:, 1:] - truth[:, 1:]).mean() < 0.3  # steps
    assert [s["measure"] for s in reader.scores.values()] == ["accuracy", "R²", "R²", "R²"]
    assert all(0.8 < s["score"] <= 1 for s in reader.scores.values()), reader.scores
    assert all(0 <= scale.noise < 0.25 for scale in reader.scales), reader.scales
    assert re.fullmatch(r"shape accuracy \d\.\d\d(, [a-z ]+ R² \d\.\d\d){3}", reader.summary())


def test_the_readers_scores_are_those_of_a_plain_recomputation(reader: FactorReader, sprites: Dataset) -> None:
    images, factors = sprites.images(torch.arange(0, 150, 4)), sprites.factors(torch.arange(0, 150, 4))
    found, readings = reader.measure(images, factors), reader(images)
    assert found["shape"]["score"] == pytest.approx(np.nanmean(readings[:, 0] == factors[:, 0].numpy()), abs=1e-3)
    residual = ((readings[:, 2] - factors[:, 2].numpy()) ** 2).sum()
    total = ((factors[:, 2].double() - factors[:, 2].double().mean()) ** 2).sum().item()
    assert found["pos_x"]["score"] == pytest.approx(1 - residual / total, abs=1e-3)


def test_a_direction_is_read_in_steps_and_only_where_it_is_sure() -> None:
    angle = 2 * math.pi * 7 / 8
    heads = torch.tensor([[math.cos(angle), math.sin(angle)], [0.3, -0.2]], dtype=torch.float64)
    sure, unsure = factor_reader._read_circle(heads, 8.0).tolist()
    assert sure == pytest.approx(7) and math.isnan(unsure)
    column, right = torch.tensor([7]), heads[:1]
    assert factor_reader._circle_loss(right, column, 8.0).item() == pytest.approx(0, abs=1e-12)
    assert factor_reader._circle_loss(right, column + 8, 8.0).item() == pytest.approx(0, abs=1e-12)  # once round
    assert factor_reader._circle_loss(right, column - 4, 8.0).item() == pytest.approx(4)  # the other side: 2²


def test_a_circular_score_goes_the_short_way_round() -> None:
    scale = Scale("turn", "circular", span=8.0)
    score = factor_reader._score(np.array([7.5, 0.5, np.nan, 4.0]), np.array([0, 0, 1, 4]), scale)
    assert score == {"measure": "R²", "score": round(1 - (0.5 / 3) / (64 / 12), 4), "unreadable": 0.25}


def test_sprites_are_read_modulo_a_quarter_turn() -> None:
    """The period is the one after which a square's picture, and no smaller one, comes back."""
    scales = scales_of(dsprites.GRID, factor_reader.PERIODS["dsprites"])
    assert [s.kind for s in scales] == ["nominal", "ordinal", "circular", "ordinal", "ordinal"]
    turned = torch.tensor([[0, 5, 0, 16, 16], [0, 5, 10, 16, 16], [0, 5, 5, 16, 16], [0, 5, 39, 16, 16]])
    start, quarter, eighth, whole = dsprites.draw(turned).int()
    assert (start != whole).sum() == 0 and scales[2].span == 39 / 4
    assert (start != quarter).sum() < 0.2 * (start != eighth).sum()  # 10 steps are 92°


def test_some_training_images_are_means_over_factors_that_are_not_told(
    sprites: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every factor untold the mean is over the whole set; with none it is the picture itself."""
    monkeypatch.setattr(factor_reader, "_MEANS", 0.5)
    indices, plain = torch.arange(0, 40), sprites.bytes(torch.arange(0, 40))
    for chance, mean_of in ((0.0, 6), (1.0, 300)):
        monkeypatch.setattr(factor_reader, "_UNTOLD", chance)
        monkeypatch.setattr(factor_reader, "_MEAN_OF", mean_of)
        images = factor_reader._training_images(sprites, indices, torch.Generator().manual_seed(0))
        every = sprites.images(torch.arange(150)).mean(0) * 255
        expected = every.expand(20, 1, 16, 16) if chance else plain[:20].float()
        assert (images[:20].float() - expected).abs().max() < (40 if chance else 0.5)
        assert torch.equal(images[20:], plain[20:])


def test_true_traversals_move_one_factor_through_all_its_range() -> None:
    grid = dsprites.GRID
    base = torch.tensor([123_456, 7])
    factors = grid.factors(true_traversals(grid, base, 10).flatten()).view(2, 5, 10, 5)
    for j, size in enumerate(grid.sizes):
        moved = factors[:, j, :, j]
        assert (moved[:, 0] == 0).all() and (moved[:, -1] == size - 1).all() and (moved.diff(dim=1) >= 0).all()
        others = [i for i in range(5) if i != j]
        assert (factors[:, j][..., others] == grid.factors(base)[:, None, others]).all()


def test_the_reader_is_trained_once_for_the_same_images(
    sprites: Dataset, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(QUICK, steps=3)
    first = read_factors(sprites, settings=settings)
    trained: list[str] = []
    monkeypatch.setattr(factor_reader, "fit", lambda data, *rest: trained.append(data.name) or first)
    again, images = read_factors(sprites, settings=settings), sprites.images(torch.arange(20))
    assert not trained and (again.scales, again.scores) == (first.scales, first.scores)
    np.testing.assert_array_equal(again(images), first(images))
    inverted = in_memory(255 - sprites.bytes(torch.arange(150)), "sprites", GRID)
    for data_set, seed, changed in [(inverted, 0, {}), (sprites, 1, {}), (sprites, 0, {"steps": 4})]:
        read_factors(data_set, seed, replace(settings, **changed))
    monkeypatch.setattr(readers.fingerprint, "data_code", lambda name: "another")
    read_factors(sprites, settings=settings)
    assert len(trained) == 4 and len(list(runs_folder.glob("readers/*/reader.pt"))) == 5


def test_a_set_without_factors_has_no_reader(runs_folder: Path) -> None:
    with pytest.raises(LookupError, match="no ground-truth factors"):
        read_factors(in_memory(torch.zeros(4, 1, 16, 16, dtype=torch.uint8)))


# ---- traversals ----------------------------------------------------------------------------------------------------


def test_an_oracle_is_named_right_in_every_row(reader: FactorReader, sprites: Dataset) -> None:
    measured = measured_traversal(Oracle(sprites), sprites, [3, 0, 2, 1], (-1, 1), 12, reader, columns=5)
    assert [row.dominant for row in measured.summaries] == ["pos_y", "shape", "pos_x", "scale"]
    assert all(row.change > 0.75 and row.purity > 0.7 for row in measured.summaries), measured.summaries
    assert all(measured.summaries[row].monotonicity > 0.9 for row in (0, 2, 3))
    assert measured.images.shape == (4, 5, 1, 16, 16) and measured.readings.shape == (12, 4, 5, 4)


def test_a_rotated_oracle_shows_two_factors(reader: FactorReader, sprites: Dataset) -> None:
    turned = Oracle(sprites, turn=math.pi / 4)
    centre = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    rows = measured_traversal(turned, sprites, [2, 3], (-1.4, 1.4), centre, reader, columns=7).summaries
    for row in rows:
        assert set(row.above[:2]) == {"pos_x", "pos_y"} and min(row.changes["pos_x"], row.changes["pos_y"]) > 0.6
        assert row.purity < 0.65


def test_a_dead_dimension_changes_nothing(reader: FactorReader, sprites: Dataset) -> None:
    oracle = Oracle(sprites)
    oracle.mixing[:, 1] = 0
    (row,) = measured_traversal(oracle, sprites, [1], (-1, 1), 3, reader).summaries
    assert row.dominant is None and row.text() == "no change"


def test_the_grid_shows_the_first_base_and_values_in_place_or_added(reader: FactorReader, sprites: Dataset) -> None:
    oracle, bases = Oracle(sprites), torch.tensor([[-1.0, 0, 0, 0.5], [1, 1, 1, 1]])
    absolute = measured_traversal(oracle, sprites, [3], (-1, 0), bases, reader, columns=3)
    relative = measured_traversal(oracle, sprites, [3], (-1, 0), bases, reader, columns=3, relative=True)
    for measured, places in ((absolute, [-1, -0.5, 0]), (relative, [-0.5, 0, 0.5])):
        codes = bases[:1].repeat(3, 1)
        codes[:, 3] = torch.tensor(places)
        assert torch.equal(measured.images[0], oracle.decode(codes)) and measured.values == (-1, -0.5, 0)


def test_all_models_start_from_the_same_images(sprites: Dataset) -> None:
    plain, turned = Oracle(sprites), Oracle(sprites, turn=1.0)
    first, second = base_codes(plain, sprites, 4), base_codes(turned, sprites, 4)
    torch.testing.assert_close(first @ turned.mixing, second)


def test_what_the_instrument_can_read_of_a_models_own_images(reader: FactorReader, sprites: Dataset) -> None:
    perfect, blind = Oracle(sprites), Oracle(sprites)
    blind.mixing = torch.diag(torch.tensor([1.0, 1, 1, 0]))  # knows nothing of pos_y
    assert legibility(perfect, sprites, reader, 100)["pos_y"]["score"] > 0.8
    found = legibility(blind, sprites, reader, 100)
    assert found["pos_y"]["score"] < 0.2 and found["pos_x"]["score"] > 0.8
    assert illegible(reader, found) == ("pos_y",)
    (row,) = measured_traversal(perfect, sprites, [3], (-1, 1), 3, reader, without=["pos_y"]).summaries
    assert math.isnan(row.changes["pos_y"]) and "pos_y" not in row.above


def test_bad_input_is_refused(reader: FactorReader, sprites: Dataset) -> None:
    oracle = Oracle(sprites)
    for dimensions, bases, said in [
        ([4], 1, r"dimensions must be some of 0…3, got \[4\]"),
        ([], 1, "dimensions must be"),
        ([0], torch.zeros(2, 3), r"base codes \[b, 4\], got \[2, 3\]"),
        ([0], 0, "at least 1 base point, got 0"),
    ]:
        with pytest.raises(ValueError, match=said):
            measured_traversal(oracle, sprites, dimensions, (-1, 1), bases, reader)


def test_digits_are_measured_by_their_strokes() -> None:
    """A "model" whose one code shears a digit: only the slant may change."""
    digits = data.load("mnist", source="rendered")
    instrument = stroke_reader(digits)

    class Shearing:
        code_dims = 1

        def decode(self, codes: Tensor) -> Tensor:
            rows = torch.linspace(-1, 1, 28)[:, None].expand(28, 28)
            columns = torch.linspace(-1, 1, 28)[None].expand(28, 28)
            grids = torch.stack([torch.stack([columns + c * rows, rows], dim=2) for c in codes[:, 0]])
            one = digits.images(torch.tensor([11])).expand(len(codes), 1, 28, 28)
            return torch.nn.functional.grid_sample(one, grids, align_corners=True)

    (row,) = measured_traversal(Shearing(), digits, [0], (0, 0.6), torch.zeros(1, 1), instrument).summaries
    assert row.dominant == "slant" and row.monotonicity == pytest.approx(1) and row.purity > 0.6
    assert "5–95 % range of scikit-learn" in instrument.summary()


# ---- figure and table ----------------------------------------------------------------------------------------------

ROWS = [
    RowSummary("pos_x", 0.62, 0.8, 0.9, {"pos_x": 0.62, "shape": 0.11}, ("pos_x", "shape")),
    RowSummary(None, 0.0, math.nan, math.nan, {"pos_x": 0.01, "shape": math.nan}, ()),
]


def test_bars_are_as_long_as_the_changes_and_stand_beside_their_rows() -> None:
    figure = measured_grid(torch.rand(2, 3, 1, 4, 4), ROWS, ["z4", "z7"])
    grid, panel = figure.axes
    bars = [(bar.get_width(), to_rgb(bar.get_facecolor()[:3])) for bar in panel.patches]
    assert [width for width, _ in bars] == [0.62, 0.11] and bars[0][1] != bars[1][1]
    assert all(0 < bar.get_y() < bar.get_y() + bar.get_height() < 1 for bar in panel.patches)
    assert [text.get_text() for text in panel.texts] == ["pos x 0.62", "shape 0.11", "no change"]
    assert 1 < panel.texts[2].get_position()[1] < 2 and panel.get_ylim() == (2, 0)
    assert [t.get_text() for t in grid.get_yticklabels()] == ["z4", "z7"]


def test_rows_of_pictures_and_of_bars_are_level() -> None:
    figure = measured_grid(torch.rand(2, 3, 1, 8, 8), ROWS)
    figure.canvas.draw()
    top, bottom = ([axes.get_window_extent().get_points()[k, 1] for axes in figure.axes] for k in (1, 0))
    assert top[0] == pytest.approx(top[1], abs=2) and bottom[0] == pytest.approx(bottom[1], abs=2)


def test_only_the_most_changed_factors_are_drawn() -> None:
    figure = measured_grid(torch.rand(2, 3, 1, 4, 4), ROWS, most=1)
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.62]


def test_a_summary_is_needed_for_each_row() -> None:
    with pytest.raises(ValueError, match="one summary a row, got 2 for 3 rows"):
        measured_grid(torch.rand(3, 3, 1, 4, 4), ROWS)


def test_the_table_holds_every_number_and_a_dash_for_what_is_not() -> None:
    head, lines = number_lines(ROWS, ["z4\n2.1", "z7"])
    assert head == ["row", "dominant", "purity", "monotonicity", "pos x", "shape"]
    assert lines == [["z4 2.1", "pos x", "0.80", "0.90", "0.62", "0.11"], ["z7", "–", "–", "–", "0.01", "–"]]


def test_a_measured_traversal_draws_and_tabulates_itself(reader: FactorReader, sprites: Dataset) -> None:
    measured = measured_traversal(Oracle(sprites), sprites, [2, 0], (-1, 1), 2, reader)
    assert [t.get_text() for t in measured.figure().axes[0].get_yticklabels()] == ["z2", "z0"]
    html = measured.table("Sprites").text
    assert html.count("<tr>") == 3 and "mean over 2 base points" in html and reader.summary() in html
