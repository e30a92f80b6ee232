"""DCI's trees on a factor with many values: what diverges, what does not, and for which data that matters."""

from __future__ import annotations

import numpy as np
import pytest
from lightgbm import LGBMClassifier

from disentlib import data
from disentlib.experiments import fingerprint, many_values
from disentlib.experiments.many_values import FLOOR, OWN_FLOOR, STAGES, STUDY, Reading
from disentlib.metrics.dci import importances
from disentlib.metrics.estimators import ESTIMATORS, MANY_VALUES

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def readings() -> dict[str, Reading]:
    return {learner: many_values.read(learner, "aligned", 120, 1200, 0, False) for learner in (OWN_FLOOR, FLOOR)}


def test_without_a_floor_the_loss_explodes_and_with_one_it_falls(readings: dict[str, Reading]) -> None:
    assert readings[OWN_FLOOR].loss[-1] > 10
    floored = readings[FLOOR].loss
    assert (np.diff(floored) < 0).all() and floored[-1] < 0.3
    assert readings[FLOOR].disentanglement > readings[OWN_FLOOR].disentanglement + 0.05


def test_dci_takes_the_floor_where_there_are_many_values() -> None:
    """What `importances` gives for a factor with many values is what the learner with a floor gives, and no other."""
    codes, factors = many_values.sample("aligned", 60, 600, 0, False)
    matrix, _ = importances((codes, factors), (codes, factors), estimator="lightgbm", seed=0, workers=1)
    last = factors[:, -1]
    gains = {floor: LGBMClassifier(
        n_estimators=100, learning_rate=0.1, max_depth=3, num_leaves=8, min_child_samples=1, importance_type="gain",
        min_child_weight=floor, random_state=0, n_jobs=1, deterministic=True, force_col_wise=True, verbose=-1,
    ).fit(codes, last).feature_importances_ for floor in (1.0, 1e-3)}  # fmt: skip
    assert matrix[:, -1] == pytest.approx(gains[1.0] / gains[1.0].sum(), abs=1e-9)
    assert np.abs(matrix[:, -1] - gains[1e-3] / gains[1e-3].sum()).max() > 0.01


def test_only_cars_have_a_factor_with_many_values() -> None:
    """The promise in `successors.yml`: all other data sets are read by the very learner that read them before."""
    assert fingerprint._successors()["208dc6c1feafb38c"][1] == {"cars3d"}
    unchanged = LGBMClassifier().get_params()["min_child_weight"]
    for name in data.names():
        grid = data.load(name, source="rendered", image_size=32).grid if name != "mnist" else None
        floors = {
            ESTIMATORS["lightgbm"].make(0, n).get_params()["min_child_weight"] for n in (grid.sizes if grid else ())
        }
        assert (floors - {unchanged} != set()) == (name == "cars3d"), name


def test_losses_are_those_of_the_probabilities() -> None:
    """Of both libraries: the mean of −ln p of the value that is there, in shares of ln n."""
    codes, factors = many_values.sample("rotated", 7, 300, 1, False)
    last = factors[:, -1]
    for learner in (OWN_FLOOR, STUDY):
        name, made_for = many_values.LEARNERS[learner]
        model = ESTIMATORS[name].make(0, made_for).fit(codes, last)
        expected = -np.log(model.predict_proba(codes)[np.arange(len(last)), last]).mean() / np.log(7)
        found = many_values.read(learner, "rotated", 7, 300, 1, False).loss
        assert found[-1] == pytest.approx(expected, rel=1e-9) and len(found) == len(STAGES)


def test_a_disturbance_is_in_the_seventh_digit_alone() -> None:
    plain, disturbed = (many_values.sample("aligned", 10, 500, 3, d) for d in (False, True))
    assert (plain[1] == disturbed[1]).all()
    moved = np.abs(disturbed[0] / plain[0] - 1)
    assert 1e-7 < moved.mean() < 2e-6 and moved.max() < 1e-5


def test_what_is_shown(readings: dict[str, Reading]) -> None:
    some = [Reading(learner, n, 0, d, 0.5 + 0.1 * d, readings[FLOOR].loss) for learner in readings for n in (5, 9)
            for d in (False, True)]  # fmt: skip
    left, right = many_values.loss_picture(some).axes
    assert len(left.lines) == 2 * 2 + 1 and {t.get_text() for t in right.get_legend().get_texts()} == set(readings)
    text = many_values.disturbance_table([r for r in some if r.values == 5], "shown").text
    assert text.count("<td>0.100</td>") == 2


def test_an_unknown_learner_is_refused() -> None:
    with pytest.raises(LookupError, match="no learner 'forest'; known: LightGBM, its own floor"):
        many_values.read("forest", "aligned", 5, 100, 0, False)


def test_many_begins_above_what_all_but_cars_have() -> None:
    make = ESTIMATORS["lightgbm"].make
    assert [make(0, n).get_params()["min_child_weight"] for n in (MANY_VALUES, MANY_VALUES + 1)] == [1e-3, 1.0]
