"""Slow references of the metrics: each written out by loops from its convention in words, to check the fast code.

Written from the written conventions alone, without a look at the library. Logarithms are natural unless a base is
named. `codes` are `[n, d]`, `factors` whole numbers `[n, k]`; `codes_of` encodes factor rows `[n, k]` into codes
`[n, d]`. Where the convention leaves something open, the docstring says what is done here with the word "choice".
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

Array = NDArray[np.float64]
Factors = NDArray[np.int64]
Encoder = Callable[[Factors], Array]


@contextmanager
def _unconverged() -> Iterator[None]:
    """The conventions fix the number of iterations: a solver that stops there is no error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _accuracy(predicted: Sequence[Any], true: Sequence[Any]) -> float:
    """Share of equal entries."""
    return sum(1 for p, t in zip(predicted, true, strict=True) if p == t) / len(true)


def gap(scores: Array) -> float:
    """Mean over factors (columns of `[d, k]`) of the best code's score minus the second best's. Needs two codes."""
    if len(scores) < 2:
        raise ValueError("the second best of one code is not defined")
    gaps = []
    for j in range(scores.shape[1]):
        ordered = sorted((float(scores[i, j]) for i in range(len(scores))), reverse=True)
        gaps.append(ordered[0] - ordered[1])
    return sum(gaps) / len(gaps)


# Mutual information gap ---------------------------------------------------------------------------------------------


def histogram_bins(column: Array, bins: int = 20) -> list[int]:
    """Bin numbers 1 … `bins`: equal widths between the column's own minimum and maximum.

    x is in bin b when edge_b ≤ x < edge_(b+1); only the first `bins` edges are compared, so the maximum falls in the
    last bin. A constant column has the range value ± ½, and all of it lands in one bin.
    """
    low, high = float(np.min(column)), float(np.max(column))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    return [sum(1 for edge in edges[:bins] if edge <= x) for x in column]


def entropy(symbols: Sequence[int]) -> float:
    """Plug-in entropy in nats: -Σ p log p over the shares p of the symbols that occur."""
    n = len(symbols)
    return -sum(count / n * math.log(count / n) for count in Counter(symbols).values())


def mutual_information(a: Sequence[int], b: Sequence[int]) -> float:
    """Plug-in mutual information in nats: Σ p(a,b) log(p(a,b) / (p(a) p(b))), no correction for bias."""
    n = len(a)
    count_a, count_b = Counter(a), Counter(b)
    total = 0.0
    for (x, y), count in Counter(zip(a, b, strict=True)).items():
        total += count / n * math.log(count * n / (count_a[x] * count_b[y]))
    return total


def mutual_information_matrix(codes: Array, factors: Factors, bins: int = 20) -> Array:
    """I(i, j) between code i in `bins` equal-width bins and factor j as it is, `[d, k]`, nats."""
    matrix = np.zeros((codes.shape[1], factors.shape[1]))
    for i in range(codes.shape[1]):
        binned = histogram_bins(codes[:, i], bins)
        for j in range(factors.shape[1]):
            matrix[i, j] = mutual_information(binned, factors[:, j].tolist())
    return matrix


def mig(codes: Array, factors: Factors, bins: int = 20) -> float:
    """Mutual information gap: mean over factors of (largest - second largest I(·, j)) / H(j).

    H(j) is the plug-in entropy of factor j on the same rows, not log of its size. Every factor counts the same.
    Undefined (raises) for one code only or for a factor with one value in the rows.
    """
    matrix = mutual_information_matrix(codes, factors, bins)
    for j in range(factors.shape[1]):
        h = entropy(factors[:, j].tolist())
        if h == 0:
            raise ValueError(f"factor {j} has one value only")
        matrix[:, j] /= h
    return gap(matrix)


# SAP ----------------------------------------------------------------------------------------------------------------


def linear_svc_accuracy(
    train_code: Array, train_factor: Factors, test_code: Array, test_factor: Factors, seed: int = 0
) -> float:
    """Plain test accuracy of one linear SVM on one raw (not standardised) code.

    `LinearSVC(C=0.01, class_weight="balanced")`, otherwise scikit-learn's defaults (squared hinge, L2, one-vs-rest,
    a regularised intercept, tolerance 1e-4, 1000 iterations). The seed matters only if the dual solver is picked.
    """
    with _unconverged():
        machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
        machine.fit(train_code.reshape(-1, 1), train_factor)
    return _accuracy(machine.predict(test_code.reshape(-1, 1)).tolist(), test_factor.tolist())


def squared_correlation(code: Array, factor: Factors) -> float:
    """R² of a line from code to factor value: squared Pearson correlation, 0 where the code's variance is ≤ 1e-12.

    Choices: the variance compared with 1e-12 has divisor n - 1; a constant factor gives 0.
    """
    n = len(code)
    mean_code, mean_factor = sum(map(float, code)) / n, sum(map(float, factor)) / n
    var_code = sum((float(c) - mean_code) ** 2 for c in code) / (n - 1)
    var_factor = sum((float(v) - mean_factor) ** 2 for v in factor) / (n - 1)
    covariance = sum((float(c) - mean_code) * (float(v) - mean_factor) for c, v in zip(code, factor)) / (n - 1)
    if var_code <= 1e-12 or var_factor == 0:
        return 0.0
    return covariance**2 / (var_code * var_factor)


def sap_matrix(
    train_codes: Array,
    train_factors: Factors,
    test_codes: Array,
    test_factors: Factors,
    ordinal: Sequence[bool] | None = None,
    seed: int = 0,
) -> Array:
    """Score `[d, k]` of each code for each factor: R² on the train rows if `ordinal[j]`, else an SVM's test accuracy.

    `ordinal=None` means none is ordinal.
    """
    d, k = train_codes.shape[1], train_factors.shape[1]
    scores = np.zeros((d, k))
    for i in range(d):
        for j in range(k):
            if ordinal is not None and ordinal[j]:
                scores[i, j] = squared_correlation(train_codes[:, i], train_factors[:, j])
            else:
                scores[i, j] = linear_svc_accuracy(
                    train_codes[:, i], train_factors[:, j], test_codes[:, i], test_factors[:, j], seed
                )
    return scores


def sap(
    train_codes: Array,
    train_factors: Factors,
    test_codes: Array,
    test_factors: Factors,
    ordinal: Sequence[bool] | None = None,
    seed: int = 0,
) -> float:
    """SAP score: mean over factors of (best code's score - second best's), scores as in `sap_matrix`.

    Without `ordinal`: the published study, every factor a class, LinearSVC, test accuracy.
    """
    return gap(sap_matrix(train_codes, train_factors, test_codes, test_factors, ordinal, seed))


def sap_in_sample(codes: Array, factors: Factors, ordinal: Sequence[bool], seed: int = 0) -> float:
    """SAP as InfoGAN-CR scores it: fitted and scored on the same rows, R² for ordinal factors, LinearSVC for others.

    On dSprites the shape is the one factor that is not ordinal (scale, orientation, x and y are).
    """
    return sap(codes, factors, codes, factors, ordinal, seed)


# DCI ----------------------------------------------------------------------------------------------------------------


def _concentration(importances: Sequence[float]) -> float:
    """1 - entropy of (importances + 1e-11) normalised to sum 1, logarithm to the base of their number."""
    shifted = [float(r) + 1e-11 for r in importances]
    total = sum(shifted)
    return 1.0 + sum(r / total * math.log(r / total) for r in shifted) / math.log(len(shifted))


def _weighted(scores: Sequence[float], sums: Sequence[float]) -> float:
    """Σ w s with w = sum / total; uniform weights where nothing has importance."""
    total = sum(sums)
    if total == 0:
        return sum(scores) / len(scores)
    return sum(score * part / total for score, part in zip(scores, sums, strict=True))


def dci_aggregate(importances: Array) -> tuple[float, float]:
    """(disentanglement, completeness) of an importance matrix R `[d codes, k factors]`, entries ≥ 0.

    Disentanglement: per code 1 - H_k(row of R + 1e-11, normalised), logarithm to base k, weighted with row sum / total.
    Completeness: per factor 1 - H_d(column of R + 1e-11, normalised), logarithm to base d (dead and noise codes
    counted), weighted with column sum / total. An R of zeros: uniform weights, hence 0. Undefined for k = 1 or d = 1.
    """
    d, k = importances.shape
    rows = [[float(importances[i, j]) for j in range(k)] for i in range(d)]
    columns = [[rows[i][j] for i in range(d)] for j in range(k)]
    disentanglement = _weighted([_concentration(row) for row in rows], [sum(row) for row in rows])
    completeness = _weighted([_concentration(column) for column in columns], [sum(column) for column in columns])
    return disentanglement, completeness


class Dci(NamedTuple):
    """What `dci` finds; informativeness is plain accuracy, mean over factors, and not error."""

    disentanglement: float
    completeness: float
    informativeness_train: float
    informativeness_test: float
    importances: Array  # [d, k], each column sums to 1, or is 0 if no tree ever split


def dci(
    train_codes: Array,
    train_factors: Factors,
    test_codes: Array,
    test_factors: Factors,
    seed: int = 0,
    **trees: Any,
) -> Dci:
    """DCI with one `GradientBoostingClassifier` per factor on all raw codes, all of scikit-learn's defaults.

    R[i, j] is the impurity importance of code i in the classifier of factor j. Ties between equal splits are broken at
    random: `seed` is given to every factor's classifier afresh (choice; the study leaves it to the global generator).
    `trees` overrides defaults, such as `n_estimators`, to make a test quick.
    """
    d, k = train_codes.shape[1], train_factors.shape[1]
    importances, train, test = np.zeros((d, k)), [], []
    for j in range(k):
        forest = GradientBoostingClassifier(random_state=seed, **trees)
        forest.fit(train_codes, train_factors[:, j])
        importances[:, j] = np.abs(forest.feature_importances_)
        train.append(_accuracy(forest.predict(train_codes).tolist(), train_factors[:, j].tolist()))
        test.append(_accuracy(forest.predict(test_codes).tolist(), test_factors[:, j].tolist()))
    return Dci(*dci_aggregate(importances), sum(train) / k, sum(test) / k, importances)


# FactorVAE ----------------------------------------------------------------------------------------------------------


def draw_factors(n: int, sizes: Sequence[int], generator: np.random.Generator) -> Factors:
    """`n` factor rows drawn uniformly from the grid, `[n, k]`."""
    return np.stack([generator.integers(0, size, size=n) for size in sizes], axis=1).astype(np.int64)


def variances(codes: Array) -> list[float]:
    """Variance of each dimension over the rows, divisor n - 1; exactly 0 for a dimension whose rows are all equal."""
    n, result = len(codes), []
    for column in codes.T.tolist():
        if min(column) == max(column):  # a rounded mean must not give a dead dimension a variance
            result.append(0.0)
            continue
        mean = math.fsum(column) / n
        result.append(math.fsum((x - mean) ** 2 for x in column) / (n - 1))
    return result


def active_by_spread(codes: Array, threshold: float = 0.05) -> list[int]:
    """Dimensions whose standard deviation over the rows (divisor n - 1) is ≥ threshold, in units of the codes.

    A dimension that never moves is never active, not even at threshold 0, where the study's reference counts it and
    then divides 0 by 0. Threshold 0 is therefore "no pruning" of all that lives.
    """
    return [i for i, v in enumerate(variances(codes)) if v > 0 and math.sqrt(v) >= threshold]


def vote(codes: Array, global_variances: Sequence[float], active: Sequence[int]) -> int:
    """The active dimension with the least (variance in this batch) / (global variance); ties: the first."""
    local = variances(codes)
    best, least = -1, math.inf
    for i in active:
        ratio = local[i] / global_variances[i]
        if ratio < least:
            best, least = i, ratio
    return best


def vote_table(votes: Sequence[tuple[int, int]], d: int, k: int) -> list[list[int]]:
    """Counts `[d][k]` of votes (dimension, factor)."""
    table = [[0] * k for _ in range(d)]
    for i, j in votes:
        table[i][j] += 1
    return table


def majority_classes(table: Sequence[Sequence[int]]) -> list[int]:
    """Each dimension's factor: the one with most votes; ties: the lowest factor; no votes: factor 0."""
    return [list(row).index(max(row)) for row in table]


def majority_accuracy(
    train_votes: Sequence[tuple[int, int]], test_votes: Sequence[tuple[int, int]], d: int, k: int
) -> float:
    """Share of test votes (dimension, factor) whose dimension's majority factor among the train votes is theirs."""
    classes = majority_classes(vote_table(train_votes, d, k))
    return sum(1 for i, j in test_votes if classes[i] == j) / len(test_votes)


def fixed_batch(j: int, batch: int, sizes: Sequence[int], generator: np.random.Generator) -> Factors:
    """`batch` factor rows, all with the first row's value of factor j."""
    factors = draw_factors(batch, sizes, generator)
    for row in range(batch):
        factors[row, j] = factors[0, j]
    return factors


def factor_vae(
    codes_of: Encoder,
    sizes: Sequence[int],
    generator: np.random.Generator,
    *,
    threshold: float = 0.05,
    train_votes: int = 10_000,
    test_votes: int = 5_000,
    batch: int = 64,
    variance_rows: int = 10_000,
) -> float:
    """FactorVAE metric of the published study: accuracy of a majority vote, learnt on some votes, scored on others.

    Global variances (divisor n - 1) from `variance_rows` rows; dimensions with standard deviation < `threshold` are
    pruned (0: no pruning, see `active_by_spread`); none left: 0. One vote: a factor drawn uniformly, a batch that
    shares its value, the active dimension of least local / global variance. Draws: variance rows, then per vote the
    factor and its batch, train votes before test votes.
    """
    k = len(sizes)
    sample = codes_of(draw_factors(variance_rows, sizes, generator))
    spread, active = variances(sample), active_by_spread(sample, threshold)
    if not active:
        return 0.0
    votes = []
    for _ in range(train_votes + test_votes):
        j = int(generator.integers(k))
        votes.append((vote(codes_of(fixed_batch(j, batch, sizes, generator)), spread, active), j))
    return majority_accuracy(votes[:train_votes], votes[train_votes:], sample.shape[1], k)


def factor_vae_in_sample(
    codes_of: Encoder,
    sizes: Sequence[int],
    generator: np.random.Generator,
    *,
    votes: int = 500,
    batch: int = 100,
    variance_rows: int = 73_728,
) -> tuple[float, float]:
    """FactorVAE metric as InfoGAN-CR scores it: (score, "revised" score).

    Vote i has factor i mod k, so the factors are balanced; no dimension is pruned; the majority is taken and scored
    on the same votes, which makes the score Σ over dimensions of (their most frequent factor's votes) / votes. The
    revised score counts only the k dimensions whose part of that sum is largest. Choices: a dimension that never moves
    cannot win a vote, and if none moves both scores are 0; the batch shares its first row's value.
    """
    k = len(sizes)
    sample = codes_of(draw_factors(variance_rows, sizes, generator))
    spread, active = variances(sample), active_by_spread(sample, 0.0)
    if not active:
        return 0.0, 0.0
    cast = []
    for i in range(votes):
        j = i % k
        cast.append((vote(codes_of(fixed_batch(j, batch, sizes, generator)), spread, active), j))
    parts = [max(row) for row in vote_table(cast, sample.shape[1], k)]
    return sum(parts) / votes, sum(sorted(parts, reverse=True)[:k]) / votes


# β-VAE metric -------------------------------------------------------------------------------------------------------


def beta_vae_point(
    codes_of: Encoder, j: int, pairs: int, sizes: Sequence[int], generator: np.random.Generator
) -> list[float]:
    """Mean over pairs of |z1 - z2| per dimension; the two of a pair share factor j's value, which differs by pair."""
    first, second = draw_factors(pairs, sizes, generator), draw_factors(pairs, sizes, generator)
    for row in range(pairs):
        second[row, j] = first[row, j]
    z1, z2 = codes_of(first), codes_of(second)
    return [sum(abs(float(z1[row, i]) - float(z2[row, i])) for row in range(pairs)) / pairs for i in range(z1.shape[1])]


def beta_vae_points(
    codes_of: Encoder, n: int, pairs: int, sizes: Sequence[int], generator: np.random.Generator
) -> tuple[Array, list[int]]:
    """`n` points and their labels; each: the factor drawn uniformly, then batch one, then batch two."""
    points, labels = [], []
    for _ in range(n):
        j = int(generator.integers(len(sizes)))
        points.append(beta_vae_point(codes_of, j, pairs, sizes, generator))
        labels.append(j)
    return np.asarray(points), labels


def logistic_accuracy(points: Array, labels: Sequence[int], test_points: Array, test_labels: Sequence[int]) -> float:
    """Accuracy of scikit-learn's default `LogisticRegression` (C = 1, L2, lbfgs, 100 iterations, multinomial), raw."""
    with _unconverged():
        model = LogisticRegression().fit(points, list(labels))
    return _accuracy(model.predict(test_points).tolist(), list(test_labels))


def beta_vae(
    codes_of: Encoder,
    sizes: Sequence[int],
    generator: np.random.Generator,
    *,
    train_points: int = 10_000,
    test_points: int = 5_000,
    pairs: int = 64,
) -> float:
    """β-VAE metric of the published study: which factor was shared, from the mean |z1 - z2|, test accuracy.

    Points as in `beta_vae_points`, not standardised; training points are drawn before test points.
    """
    train, labels = beta_vae_points(codes_of, train_points, pairs, sizes, generator)
    test, test_labels = beta_vae_points(codes_of, test_points, pairs, sizes, generator)
    return logistic_accuracy(train, labels, test, test_labels)


def beta_vae_in_sample(
    codes_of: Encoder,
    sizes: Sequence[int],
    generator: np.random.Generator,
    *,
    points: int = 500,
    pairs: int = 50,
    balanced: bool = True,
) -> float:
    """β-VAE metric as InfoGAN-CR scores it: 500 points of 50 pairs, fitted and scored on the same points.

    Choice (not stated): point i has factor i mod k, as in that protocol's votes; `balanced=False` draws it instead.
    """
    if not balanced:
        features, labels = beta_vae_points(codes_of, points, pairs, sizes, generator)
    else:
        labels = [i % len(sizes) for i in range(points)]
        features = np.asarray([beta_vae_point(codes_of, j, pairs, sizes, generator) for j in labels])
    return logistic_accuracy(features, labels, features, labels)


# Gaussian posteriors ------------------------------------------------------------------------------------------------


def log_normal(z: float, mean: float, deviation: float) -> float:
    """log N(z; mean, deviation²)."""
    return -0.5 * ((z - mean) / deviation) ** 2 - math.log(deviation) - 0.5 * math.log(2 * math.pi)


def logsumexp(values: Sequence[float]) -> float:
    """log Σ exp(v), the largest taken out; -∞ for nothing but -∞."""
    top = max(values)
    if top == -math.inf:
        return -math.inf
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def kl_to_standard_normal(mean: float, deviation: float, points: int = 4001) -> float:
    """KL(N(mean, deviation²) ‖ N(0, 1)) in nats: ∫ q log(q/p) by the trapezoid rule over mean ± 12 deviations."""
    step = 24 * deviation / (points - 1)
    total = 0.0
    for t in range(points):
        z = mean - 12 * deviation + t * step
        log_q = log_normal(z, mean, deviation)
        weight = 0.5 if t in (0, points - 1) else 1.0
        total += weight * math.exp(log_q) * (log_q - log_normal(z, 0.0, 1.0))
    return total * step


def kl_per_dimension(means: Array, deviations: Array, points: int = 4001) -> list[float]:
    """Mean over rows of KL(N(μ, σ²) ‖ N(0, 1)) for each dimension, nats; `deviations` are σ, not σ² or log σ²."""
    n, d = means.shape
    return [
        sum(kl_to_standard_normal(float(means[row, i]), float(deviations[row, i]), points) for row in range(n)) / n
        for i in range(d)
    ]


def active_by_kl(kl: Sequence[float], threshold: float = 0.1) -> int:
    """Number of dimensions whose mean KL to the prior is > threshold (nats): a count, not a sum of codes."""
    return sum(1 for value in kl if value > threshold)


class Decomposition(NamedTuple):
    """The KL to the standard normal in three parts, nats; Chen et al. 2018, eq. 2: mutual information + TC + rest."""

    mutual_information: float  # E[log q(z|x) - log q(z)], index-code mutual information
    total_correlation: float  # E[log q(z) - Σ_i log q(z_i)]
    dimension_wise_kl: float  # Σ_i E[log q(z_i) - log p(z_i)]


def posterior_samples(
    means: Array, deviations: Array, each: int, generator: np.random.Generator
) -> tuple[Array, list[int]]:
    """`each` draws from every posterior, `[N · each, d]`, and the index of the posterior that each came from."""
    owners = [n for n in range(len(means)) for _ in range(each)]
    noise = generator.normal(size=(len(owners), means.shape[1]))
    return means[owners] + deviations[owners] * noise, owners


def log_densities(samples: Array, means: Array, deviations: Array) -> Array:
    """log q(z_i of sample s | x_j) for every sample, posterior and dimension, `[S, N, d]`."""
    result = np.zeros((len(samples), len(means), means.shape[1]))
    for s in range(len(samples)):
        for j in range(len(means)):
            for i in range(means.shape[1]):
                result[s, j, i] = log_normal(float(samples[s, i]), float(means[j, i]), float(deviations[j, i]))
    return result


def _weighted_mixture(log_q: Array, log_weights: Sequence[float]) -> tuple[float, list[float]]:
    """(log Σ_j w_j q(z|x_j), [log Σ_j w_j q(z_i|x_j) for each i]) from log densities `[M, d]` of one z.

    The joint density is the product over dimensions, and the weight counts once in it, not once per dimension.
    """
    m, d = log_q.shape
    joint = logsumexp([log_weights[j] + sum(float(log_q[j, i]) for i in range(d)) for j in range(m)])
    return joint, [logsumexp([log_weights[j] + float(log_q[j, i]) for j in range(m)]) for i in range(d)]


def _decomposition(
    samples: Array, own: Sequence[float], mixtures: Sequence[tuple[float, list[float]]]
) -> Decomposition:
    """Means over the samples of the three differences of log densities."""
    n = len(samples)
    information = sum(own[s] - mixtures[s][0] for s in range(n)) / n
    correlation = sum(mixtures[s][0] - sum(mixtures[s][1]) for s in range(n)) / n
    rest = 0.0
    for s in range(n):
        for i, log_marginal in enumerate(mixtures[s][1]):
            rest += (log_marginal - log_normal(float(samples[s, i]), 0.0, 1.0)) / n
    return Decomposition(information, correlation, rest)


def exact_log_mixture(samples: Array, means: Array, deviations: Array) -> list[tuple[float, list[float]]]:
    """(log q(z), [log q(z_i)]) of each sample under the whole mixture: log 1/N Σ_j q(z|x_j) over all N posteriors."""
    weights = [-math.log(len(means))] * len(means)
    log_q = log_densities(samples, means, deviations)
    return [_weighted_mixture(log_q[s], weights) for s in range(len(samples))]


def exact_decomposition(means: Array, deviations: Array, samples: Array, owners: Sequence[int]) -> Decomposition:
    """Brute force: all N posteriors N(μ_j, diag σ_j²) in every log q, Monte Carlo over the given samples alone.

    `owners[s]` is the posterior that sample s was drawn from (`posterior_samples` gives both).
    """
    own = []
    for s, owner in enumerate(owners):
        own.append(
            sum(
                log_normal(float(samples[s, i]), float(means[owner, i]), float(deviations[owner, i]))
                for i in range(means.shape[1])
            )
        )
    return _decomposition(samples, own, exact_log_mixture(samples, means, deviations))


def weighted_log_mixture(
    samples: Array, means: Array, deviations: Array, dataset_size: int
) -> list[tuple[float, list[float]]]:
    """Minibatch weighted sampling: log q(z(x_i)) ≈ log 1/(N M) Σ_j q(z(x_i)|x_j), j over the batch, own one included.

    Chen et al. 2018, Isolating Sources of Disentanglement in VAEs, appendix C.1. Sample i is a draw from the batch's
    posterior i; M is the batch, N the data set. The same estimator, constant and all, stands in each marginal q(z_i).
    Every log is too low, by about log N where the posteriors overlap and about log M where each sample's own one
    dominates; so the TC is too high by about d - 1 times that, and the mutual information by about that.
    """
    weights = [-math.log(dataset_size * len(means))] * len(means)
    log_q = log_densities(samples, means, deviations)
    return [_weighted_mixture(log_q[s], weights) for s in range(len(samples))]


def stratified_weights(batch: int, dataset_size: int, designated: Sequence[int] | None = None) -> Array:
    """Weights `[M, M]` of minibatch stratified sampling, row = sample, column = posterior; every row sums to 1.

    Chen et al. 2018, Isolating Sources of Disentanglement in VAEs, appendix C.2, whose M is the batch without the own
    point; here M counts the whole batch, drawn without replacement from N. Sample i gives its own posterior 1/N, one
    designated other (N - M + 1) / (N (M - 1)), each of the rest 1/(M - 1). By default the designated one of row i is
    i + 1, and 0 for the last row. Averaged over all batches that hold x_i, Σ_j w_ij q(z|x_j) is exactly q(z); a full
    batch (M = N) alone is not. Needs 2 ≤ M ≤ N.
    """
    if not 2 <= batch <= dataset_size:
        raise ValueError(f"a batch of {batch} from {dataset_size}")
    others = designated if designated is not None else [(i + 1) % batch for i in range(batch)]
    weights = np.zeros((batch, batch))
    for i in range(batch):
        if others[i] == i:
            raise ValueError(f"row {i} designates itself")
        for j in range(batch):
            if j == i:
                weights[i, j] = 1 / dataset_size
            elif j == others[i]:
                weights[i, j] = (dataset_size - batch + 1) / (dataset_size * (batch - 1))
            else:
                weights[i, j] = 1 / (batch - 1)
    return weights


def stratified_log_mixture(
    samples: Array,
    means: Array,
    deviations: Array,
    dataset_size: int,
    designated: Sequence[int] | None = None,
) -> list[tuple[float, list[float]]]:
    """Minibatch stratified sampling: log q(z(x_i)) ≈ log Σ_j w_ij q(z(x_i)|x_j), w from `stratified_weights`.

    Chen et al. 2018, appendix C.2. The same weights stand in each marginal.
    """
    weights = stratified_weights(len(means), dataset_size, designated)
    log_q = log_densities(samples, means, deviations)
    return [_weighted_mixture(log_q[s], [math.log(w) for w in weights[s]]) for s in range(len(samples))]


def batch_decomposition(
    means: Array,
    deviations: Array,
    samples: Array,
    dataset_size: int,
    estimator: str,
    designated: Sequence[int] | None = None,
) -> Decomposition:
    """The three parts from one batch `[M, d]`, sample i drawn from posterior i; `weighted` or `stratified`.

    With either estimator the three parts add up to the mean of log q(z|x) - log p(z) exactly, as log q(z) cancels.
    """
    if estimator == "weighted":
        mixtures = weighted_log_mixture(samples, means, deviations, dataset_size)
    elif estimator == "stratified":
        mixtures = stratified_log_mixture(samples, means, deviations, dataset_size, designated)
    else:
        raise ValueError(f"estimator {estimator!r} is neither 'weighted' nor 'stratified'")
    own_log_q = log_densities(samples, means, deviations)
    own = [sum(float(x) for x in own_log_q[i, i]) for i in range(len(samples))]
    return _decomposition(samples, own, mixtures)
