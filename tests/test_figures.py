"""Figures: what is drawn is what was given, and nothing is shown without its origin."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from disentlib import figures
from disentlib.experiments import provenance

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# ---- traversals ----------------------------------------------------------------------------------------------------


def test_a_traversal_changes_exactly_the_dimension_asked_for() -> None:
    """With a decoder that shows its code as it is."""
    code = torch.tensor([0.5, -1.5, 2.5, 0.25])
    kept, values = code.clone(), [-3.0, 0.0, 3.0]
    grid = figures.traverse(lambda z: z[:, None, None], code, [2, 0], values)
    assert grid.shape == (2, 3, 1, 1, 4) and torch.equal(code, kept)
    for row, dimension in enumerate([2, 0]):
        for column, value in enumerate(values):
            expected = code.clone()
            expected[dimension] = value
            assert torch.equal(grid[row, column, 0, 0], expected)


def test_a_traversal_needs_no_gradient() -> None:
    weight = torch.ones(4, requires_grad=True)
    grid = figures.traverse(lambda z: (z * weight)[:, None, None], torch.zeros(4, requires_grad=True), [1], [0.0, 1.0])
    assert not grid.requires_grad


# ---- grids ---------------------------------------------------------------------------------------------------------


def tiles(sheet: np.ndarray, rows: int, columns: int, size: int) -> np.ndarray:
    """The pictures cut out of a sheet again, between frames one pixel wide: `[rows, columns, size, size, 3]`."""
    return np.array(
        [[sheet[1 + r * (size + 1) :, 1 + c * (size + 1) :][:size, :size] for c in range(columns)] for r in range(rows)]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixels_of_a_grid_are_the_images(channels: int) -> None:
    images = pictures(2, 3, channels, 4, 4)
    figure = figures.image_grid(images, rows=["first", "second"], boxes={1: "#D62728"}, title="Title")
    (axes,) = figure.axes
    sheet = np.asarray(axes.images[0].get_array())
    expected = images.expand(2, 3, 3, 4, 4).movedim(2, -1).numpy()
    np.testing.assert_array_equal(tiles(sheet, 2, 3, 4), expected)
    assert sheet.shape == (11, 16, 3) and (sheet[::5] == 1).all() and (sheet[:, ::5] == 1).all()
    assert [t.get_text() for t in axes.get_yticklabels()] == ["first", "second"] and axes.get_title() == "Title"
    (box,) = axes.patches
    assert box.get_edgecolor()[:3] == to_rgb("#D62728") and (box.get_y(), box.get_height()) == (5, 5)


def test_values_outside_the_range_are_clamped() -> None:
    figure = figures.image_grid(torch.tensor([-1.0, 2.0])[None, :, None, None, None].expand(1, 2, 1, 4, 4))
    cut = tiles(np.asarray(figure.axes[0].images[0].get_array()), 1, 2, 4)
    assert (cut[0, 0] == 0).all() and (cut[0, 1] == 1).all()


def test_grids_stand_side_by_side_under_their_names_each_with_its_own_rows() -> None:
    grids = {"VAE": pictures(2, 2, 1, 4, 4), "β-VAE": 1 - pictures(2, 2, 1, 4, 4)}
    figure = figures.image_grids(grids, rows={"VAE": ["a", "b"]}, boxes={"β-VAE": {0: "red"}})
    assert [axes.get_title() for axes in figure.axes] == ["VAE", "β-VAE"]
    for axes, images in zip(figure.axes, grids.values()):
        shown = tiles(np.asarray(axes.images[0].get_array()), 2, 2, 4)
        np.testing.assert_array_equal(shown[..., 0], images[:, :, 0].numpy())
    assert [len(axes.get_yticks()) for axes in figure.axes] == [2, 0]
    assert [len(axes.patches) for axes in figure.axes] == [0, 1]


# ---- curves and points ---------------------------------------------------------------------------------------------


def test_a_curve_is_the_mean_over_seeds_and_its_band_their_range() -> None:
    histories = [{"steps": [1, 2, 3], "kl": [1.0, 4.0, 2.0]}, {"steps": [1, 2], "kl": [3.0, 0.0]}]
    _, axes = plt.subplots()
    figures.curves(axes, {"vae": histories, "beta_vae": []}, "kl", "KL")
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[1, 2.0], [2, 2.0]] and line.get_label() == "VAE"
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in band.tolist()} >= {(1, 1.0), (1, 3.0), (2, 0.0), (2, 4.0)}
    assert axes.get_ylabel() == "KL"


def test_dots_show_every_seed_the_interval_and_the_papers_value() -> None:
    _, axes = plt.subplots()
    figures.dots(
        axes, {"vae": [1.0, 2.0], "other": [5.0]}, {"vae": (1.2, 1.8), "other": None}, "MIG", paper={"vae": 3.0}
    )
    points = [offset for collection in axes.collections for offset in collection.get_offsets().tolist()]
    assert points == [[0, 1.0], [0, 2.0], [0, 3.0], [1, 5.0]]
    (bar,) = axes.lines
    assert bar.get_xydata().tolist() == [[0, 1.2], [0, 1.8]]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["VAE", "other"]


def test_a_plane_shows_every_point_and_joins_only_the_group_asked_for() -> None:
    _, axes = plt.subplots()
    groups = {"vae": [(1, 2), (3, 4)], "beta_vae": [], "paper": [(5, 6)]}
    figures.plane(axes, groups, "x", "y", line="vae")
    assert [c.get_offsets().tolist() for c in axes.collections] == [[[1, 2], [3, 4]], [], [[5, 6]]]
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[1, 2], [3, 4]]


def test_a_heat_map_writes_its_values() -> None:
    _, axes = plt.subplots()
    figures.heatmap(axes, np.array([[0.0, 0.25], [1.0, 0.5]]), ["z0", "z1"], ["shape", "scale"], "share")
    assert [t.get_text() for t in axes.texts] == ["0.00", "0.25", "1.00", "0.50"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["z0", "z1"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["shape", "scale"]


def test_a_heat_map_can_go_without_its_bar_and_on_a_given_scale() -> None:
    figure, axes = plt.subplots()
    figures.heatmap(axes, np.array([[0.0, 0.5]]), ["a"], ["x", "y"], "score", top=1.0, bar=False)
    assert figure.axes == [axes] and axes.collections[0].get_clim() == (0, 1)


def test_panels_show_each_seed_their_mean_its_interval_and_the_mark() -> None:
    panels = {
        "one": {"up": {"a": figures.Spread([0.2, 0.4], (0.25, 0.35))}, "down": {"a": figures.Spread([0.9], None)}},
        "two": {"up": {"a": figures.Spread([0.1], None)}, "down": {"a": figures.Spread([0.5], None)}},
    }
    figure = figures.interval_panels(panels, {"a": "#0072B2"}, bands=[(1, "#EEEEEE")], marks={("one", "down"): "s"})
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert [t.get_text() for t in first.get_yticklabels()] == ["up", "down"] and first.get_ylim() == (1.5, -0.5)
    points = [offset for collection in first.collections for offset in collection.get_offsets().tolist()]
    expected = [[0.2, 0], [0.4, 0], [0.3, 0], [0.9, 1], [0.9, 1], [0.9, 1]]  # seeds, mean; seed, mean, mark
    np.testing.assert_allclose(points, expected, atol=1e-12)
    assert [line.get_xydata().tolist() for line in first.lines] == [[[0.25, 0], [0.35, 0]]] and not second.lines
    assert len(first.patches) == len(second.patches) == 1 and len(second.collections) == 4


def test_series_of_a_row_stand_apart_in_the_order_given() -> None:
    row = {"a": figures.Spread([0.5], None), "b": figures.Spread([0.5], None)}
    figure = figures.interval_panels({"p": {"r": row}}, {"a": "#0072B2", "b": "#E69F00"})
    heights = [collection.get_offsets()[0][1] for collection in figure.axes[0].collections]
    assert heights[0] == heights[1] < 0 < heights[2] == heights[3]


# ---- showing -------------------------------------------------------------------------------------------------------


def test_a_figure_is_shown_with_its_origin_below_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(figures, "display", shown.append)
    figure, origin = plt.figure(), provenance([], "drawn here")
    figures.show(figure, origin)
    assert shown == [figure, origin] and not plt.fignum_exists(figure.number)


def test_a_figure_is_not_shown_without_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "display", lambda _: pytest.fail("shown"))
    with pytest.raises(TypeError, match="provenance"):
        figures.show(plt.figure())


def test_every_method_has_a_colour_of_its_own_and_a_name() -> None:
    assert len(set(figures.COLOURS.values())) == len(figures.COLOURS)
    assert figures.COLOURS.keys() == figures.LABELS.keys()


def test_every_metric_has_a_colour_of_its_own_and_a_name() -> None:
    assert len(set(figures.METRIC_COLOURS.values())) == len(figures.METRIC_COLOURS) == 7
    assert figures.METRIC_COLOURS.keys() == figures.METRIC_LABELS.keys()
