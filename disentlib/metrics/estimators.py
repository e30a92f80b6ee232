"""What DCI may read factors with: the study's boosted trees, faster ones, and the regressors of older protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import Lasso
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["ESTIMATORS", "MANY_VALUES", "Estimator"]

MANY_VALUES = 50  # LightGBM's leaves have a floor for a factor with more of them


@dataclass(frozen=True)
class Estimator:
    """A fresh model from a seed and the factor's number of values, and the importance `[d]`, not negative, that a
    fitted one gives each dimension.
    """

    make: Callable[[int, int], BaseEstimator]
    importances: Callable[[BaseEstimator], np.ndarray]
    frees_the_lock: bool  # fitting leaves Python's lock free, so that threads serve; else workers are processes


def _sklearn(seed: int, values: int) -> BaseEstimator:
    """The study's: all defaults (100 stages of one depth-3 tree a class, learning rate 0.1)."""
    return GradientBoostingClassifier(random_state=seed)


def _lightgbm(seed: int, values: int) -> BaseEstimator:
    """As many trees of the same depth and learning rate, on histograms of the codes; importances are summed gains.

    A gain is G²/H: squared sum of gradients over the sum of p (1 − p) in a leaf. With p near 1/n for n values, H is
    next to nothing in many leaves. From about a hundred values on, the loss then grows with each tree, and a few
    gains outweigh all others. A floor under H keeps such leaves out (the chapter on metrics has the experiment).
    """
    import lightgbm  # here: importing it takes a while, and needs the system's OpenMP, which no other metric does

    return lightgbm.LGBMClassifier(
        n_estimators=100, learning_rate=0.1, max_depth=3, num_leaves=8, min_child_samples=1, importance_type="gain",
        min_child_weight=1.0 if values > MANY_VALUES else 1e-3, random_state=seed, n_jobs=1, deterministic=True,
        force_col_wise=True, verbose=-1,
    )  # fmt: skip


def _lasso(seed: int, values: int) -> BaseEstimator:
    """Lasso(0.02) on standardised codes and factors, as one of the choices of InfoGAN-CR's published metrics."""
    return _standardised(Lasso(alpha=0.02, random_state=seed))


def _random_forest(seed: int, values: int) -> BaseEstimator:
    """Ten trees of depth 5 on standardised codes and factors; the published metrics set a depth for each factor."""
    return _standardised(RandomForestRegressor(n_estimators=10, max_depth=5, random_state=seed))


def _standardised(model: BaseEstimator) -> BaseEstimator:
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=StandardScaler())


def _split_gains(model: BaseEstimator) -> np.ndarray:
    gains = np.abs(model.feature_importances_, dtype=np.float64)  # rounding makes some of them −1e-17
    return gains / gains.sum() if gains.sum() > 0 else gains


def _absolute_coefficients(model: BaseEstimator) -> np.ndarray:
    return np.abs(model.regressor_[-1].coef_)


def _forest_gains(model: BaseEstimator) -> np.ndarray:
    return np.abs(model.regressor_[-1].feature_importances_)  # as above: rounding below 0


ESTIMATORS = {
    "sklearn": Estimator(_sklearn, _split_gains, frees_the_lock=True),
    "lightgbm": Estimator(_lightgbm, _split_gains, frees_the_lock=True),
    "lasso": Estimator(_lasso, _absolute_coefficients, frees_the_lock=True),
    "random_forest": Estimator(_random_forest, _forest_gains, frees_the_lock=True),
}
