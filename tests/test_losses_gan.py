"""The losses of the GANs against other libraries, closed forms, slow recomputations and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from disentlib.losses import contrastive, image_gan, information

pytestmark = pytest.mark.usefixtures("one_thread")
PRINTED = (0.07, 0.1)  # τ1, τ2


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labelled(m: int = 40, d: int = 8, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.randint(classes, (m,), generator=torch.Generator().manual_seed(seed))
    return contrastive.normalise(noise(m, d, seed=seed)), labels


# ---- adversarial ---------------------------------------------------------------------------------------------------


def test_generator_losses_are_those_of_probabilities_with_known_gradients() -> None:
    logits = (3 * noise(9)).float().requires_grad_()
    probability = logits.detach().double().sigmoid()
    expected = {
        "non_saturating": (-probability.log(), probability - 1),
        "saturating": ((1 - probability).log(), -probability),
    }
    for form, (value, slope) in expected.items():
        loss = image_gan.generator_loss(logits, form)
        assert loss.item() == pytest.approx(value.mean().item(), rel=1e-5)
        (gradient,) = torch.autograd.grad(loss, logits)
        torch.testing.assert_close(gradient.double(), slope / 9, rtol=1e-4, atol=1e-7)


def test_only_the_non_saturating_form_moves_a_fake_that_is_seen_through() -> None:
    slopes = {}
    for form in image_gan.GENERATOR_LOSSES:
        logits = torch.tensor([-30.0], requires_grad=True)
        slopes[form] = torch.autograd.grad(image_gan.generator_loss(logits, form), logits)[0].item()
    assert slopes["non_saturating"] == pytest.approx(-1) and abs(slopes["saturating"]) < 1e-12
    with pytest.raises(ValueError, match="'hinge'; known: non_saturating, saturating"):
        image_gan.generator_loss(torch.zeros(1), "hinge")


def test_the_discriminators_optimum_on_one_point_is_the_density_ratio() -> None:
    """With real and fake 3 : 1 at one place, D = ¾ minimises the loss (Goodfellow et al. 2014, Prop. 1)."""
    logits = torch.linspace(-3, 3, 6001)
    losses = torch.stack([image_gan.discriminator_loss(x[None], x[None].expand(1)) for x in logits[::1000]])
    assert losses[3].item() == pytest.approx(2 * math.log(2), abs=1e-6) and losses.argmin() == 3
    logit = torch.zeros(1, requires_grad=True)
    real, fake = logit.expand(3), logit.expand(1)
    weighted = 3 * F.softplus(-real).mean() + F.softplus(fake).mean()
    ours = image_gan.discriminator_loss(real, fake) + 2 * F.softplus(-real).mean()
    torch.testing.assert_close(torch.autograd.grad(weighted, logit), torch.autograd.grad(ours, logit))


def test_r1_is_the_squared_gradient_by_finite_differences() -> None:
    images, weight = noise(3, 1, 2, 2).requires_grad_(), noise(4, 5, seed=1)

    def logits(x: Tensor) -> Tensor:
        return (x.flatten(1) @ weight).tanh().sum(1)

    h, squares = 1e-5, 0.0
    for unit in torch.eye(4, dtype=torch.float64):
        step = h * unit.view(1, 1, 2, 2)
        squares += ((logits(images + step) - logits(images - step)) / (2 * h)).square().mean().item()
    assert image_gan.r1_penalty(logits(images), images).item() == pytest.approx(squares, rel=1e-5)


def test_r1_reaches_the_discriminators_weights() -> None:
    """Of D(x) = w·Σx over 4 pixels the penalty is 4w², with gradient 8w."""
    weight, images = torch.tensor(3.0, requires_grad=True), torch.ones(2, 1, 2, 2, requires_grad=True)
    penalty = image_gan.r1_penalty(weight * images.sum((1, 2, 3)), images)
    assert penalty.item() == 36 and torch.autograd.grad(penalty, weight)[0].item() == 24
    with pytest.raises(ValueError, match="requires_grad=True"):
        image_gan.r1_penalty(torch.zeros(2), images.detach())


# ---- information ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [1.0, 0.3])
def test_the_code_nll_is_that_of_torch_distributions(variance: float) -> None:
    codes, mean, logvar = noise(30, 4), noise(30, 4, seed=1), noise(30, 4, seed=2)
    fixed = torch.distributions.Normal(mean, variance**0.5).log_prob(codes).sum(1).mean()
    learned = torch.distributions.Normal(mean, (logvar / 2).exp()).log_prob(codes).sum(1).mean()
    torch.testing.assert_close(information.code_nll(codes, mean, variance), -fixed, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(information.learned_code_nll(codes, mean, logvar), -learned)


def test_the_bound_is_tight_for_the_true_posterior_and_below_it_for_another() -> None:
    """c ~ N(0, 1), x = c + N(0, s²): I(c; x) = ½ ln(1 + 1/s²), and c|x ~ N(x / (1 + s²), s² / (1 + s²))."""
    n, d, s2 = 200_000, 2, 0.25
    codes = noise(n, d)
    images = codes + s2**0.5 * noise(n, d, seed=1)
    truth = d * 0.5 * math.log(1 + 1 / s2)
    mean, variance = images / (1 + s2), s2 / (1 + s2)

    def bound(nll: Tensor) -> float:
        return information.information_bound(nll, "gaussian", d).item()

    assert bound(information.code_nll(codes, mean, variance)) == pytest.approx(truth, abs=0.01)
    logvar = torch.full_like(mean, math.log(variance))
    assert bound(information.learned_code_nll(codes, mean, logvar)) == pytest.approx(truth, abs=0.01)
    assert bound(information.code_nll(codes, mean)) < truth - 0.5  # unit variance, reading S9
    assert bound(information.code_nll(codes, 0 * mean)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("prior", information.CODE_PRIORS)
def test_the_priors_have_the_entropy_and_variance_they_should(prior: str) -> None:
    samples = information.prior_sample(prior, 100_000, 3, torch.Generator().manual_seed(0))
    law = {"gaussian": torch.distributions.Normal(0.0, 1.0), "uniform": torch.distributions.Uniform(-1.0, 1.0)}[prior]
    assert information.prior_entropy(prior, 3) == pytest.approx(3 * law.entropy().item(), rel=1e-6)
    assert samples.shape == (100_000, 3)
    torch.testing.assert_close(samples.var(0), law.variance.expand(3), rtol=0.03, atol=0)
    assert samples.mean(0).abs().max() < 0.02
    assert prior == "gaussian" or (samples.abs().max() <= 1 and samples.min() < -0.99)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_a_variance_and_a_prior_that_are_none_are_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="variance"):
        information.code_nll(torch.zeros(1, 1), torch.zeros(1, 1), variance)
    with pytest.raises(ValueError, match="'cube'; known: gaussian, uniform"):
        information.prior_entropy("cube", 1)


# ---- contrastive ---------------------------------------------------------------------------------------------------


def by_double_loop(r: Tensor, labels: Tensor, tau1: float, tau2: float) -> list[float]:
    """Eq. 6 letter by letter, one value for each anchor that has positives."""
    losses = []
    for i in range(len(r)):
        others = [j for j in range(len(r)) if j != i]
        positives = [p for p in others if labels[p] == labels[i]]
        below = sum(math.exp(float(r[i] @ r[j]) / tau2) for j in others)
        logs = [math.log(math.exp(float(r[i] @ r[p]) / tau1) / below) for p in positives]
        losses += [-sum(logs) / len(positives)] if positives else []
    return losses


@pytest.mark.parametrize("taus", [PRINTED, (0.1, 0.1), (0.5, 0.2)])
def test_the_loss_is_eq_6_letter_by_letter(taus: tuple[float, float]) -> None:
    r, labels = labelled(15)
    labels[3] = 9  # an anchor without positives
    expected = by_double_loop(r, labels, *taus)
    assert len(expected) == 14
    assert contrastive.two_temperature_loss(r, labels, *taus, "sum").item() == pytest.approx(sum(expected))
    assert contrastive.two_temperature_loss(r, labels, *taus).item() == pytest.approx(sum(expected) / 14)


@pytest.mark.parametrize("tau", [0.07, 0.1, 1.0])
def test_with_one_temperature_it_is_supcon_as_another_library_has_it(tau: float) -> None:
    supcon = pytest.importorskip("pytorch_metric_learning.losses").SupConLoss(temperature=tau)
    r, labels = labelled(60)
    torch.testing.assert_close(contrastive.two_temperature_loss(r, labels, tau, tau), supcon(r, labels))


@pytest.mark.parametrize("taus", [PRINTED, (0.3, 0.1)])
def test_two_temperatures_are_supcon_less_a_bonus_on_positive_similarity(taus: tuple[float, float]) -> None:
    """Reading S2."""
    tau1, tau2 = taus
    r, labels = labelled(60)
    similarity, same = r @ r.T, (labels[:, None] == labels) & ~torch.eye(60, dtype=torch.bool)
    positive = torch.stack([row[mask].mean() for row, mask in zip(similarity, same)]).mean()
    expected = contrastive.two_temperature_loss(r, labels, tau2, tau2) - (1 / tau1 - 1 / tau2) * positive
    torch.testing.assert_close(contrastive.two_temperature_loss(r, labels, tau1, tau2), expected)


def test_identical_features_and_perfect_classes_score_as_reading_s2_says() -> None:
    labels = torch.randint(10, (384,), generator=torch.Generator().manual_seed(0))
    same = torch.ones(384, 1, dtype=torch.float64)
    collapsed = contrastive.two_temperature_loss(same, labels, *PRINTED).item()
    assert collapsed == pytest.approx(1.66, abs=0.005)
    assert collapsed == pytest.approx(contrastive.identical_features_loss(384, *PRINTED))
    centred = torch.eye(10, dtype=torch.float64) - 0.1  # the corners of a regular simplex
    perfect = contrastive.two_temperature_loss(contrastive.normalise(centred)[labels], labels, *PRINTED).item()
    assert perfect == pytest.approx(-0.65, abs=0.015)
    assert perfect == pytest.approx(contrastive.perfect_classes_loss(labels.bincount().tolist(), *PRINTED))
    random = contrastive.two_temperature_loss(contrastive.normalise(noise(384, 128)), labels, *PRINTED).item()
    assert random == pytest.approx(6.33, abs=0.1)


def test_without_normalisation_the_printed_loss_falls_without_end_as_features_collapse() -> None:
    """Reading S3: `ln(m − 1) + (1/τ2 − 1/τ1)·ρ²`."""
    labels = torch.arange(8) % 2
    for length in (1.0, 2.0, 10.0):
        loss = contrastive.two_temperature_loss(torch.full((8, 1), length), labels, *PRINTED).item()
        assert loss == pytest.approx(math.log(7) + (1 / 0.1 - 1 / 0.07) * length**2, rel=1e-5)


@pytest.mark.parametrize(("sign", "tau1"), [(1, 0.07), (1, 0.1), (-1, 0.07), (-1, 0.1)])
def test_descending_with_sign_one_gathers_classes_and_with_minus_one_scatters_them(sign: int, tau1: float) -> None:
    """Reading S1."""
    free, labels = noise(40, 8).requires_grad_(), labelled()[1]

    def contrast() -> float:
        within, between = contrastive.mean_cosines(free, labels)
        return (within - between).item()

    before = contrast()
    for _ in range(5):
        loss = sign * contrastive.two_temperature_loss(contrastive.normalise(free), labels, tau1, 0.1)
        (gradient,) = torch.autograd.grad(loss, free)
        with torch.no_grad():
            free -= 0.3 * gradient / gradient.norm()
    assert sign * (contrast() - before) > 0.01


def test_anchors_without_positives_give_no_nan_and_no_gradient() -> None:
    """Reading S14."""
    r = noise(6, 3).requires_grad_()
    loss = contrastive.two_temperature_loss(r, torch.arange(6), *PRINTED)
    (gradient,) = torch.autograd.grad(loss, r)
    assert loss == 0 and gradient.abs().max() == 0


def test_autocast_does_not_lower_the_similarities() -> None:
    r, labels = labelled(64, 128)
    exact = contrastive.two_temperature_loss(r, labels, *PRINTED).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive.two_temperature_loss(r.float(), labels, *PRINTED)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("taus", [(0.0, 0.1), (0.1, 0.0), (-1.0, 0.1), (0.1, math.inf), (math.nan, 0.1)])
def test_temperatures_out_of_range_are_refused(taus: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="tau1 and tau2"):
        contrastive.two_temperature_loss(torch.ones(4, 2), torch.tensor([0, 0, 1, 1]), *taus)


def test_what_else_is_refused() -> None:
    with pytest.raises(ValueError, match="'max'; known: mean, sum"):
        contrastive.two_temperature_loss(torch.ones(4, 2), torch.zeros(4).long(), 0.1, 0.1, "max")
    with pytest.raises(ValueError, match="at least 2 representations, got 1"):
        contrastive.two_temperature_loss(torch.ones(1, 2), torch.zeros(1).long(), 0.1, 0.1)
    with pytest.raises(ValueError, match="between 1 and the other 3 items, got 4"):
        contrastive.neighbour_accuracy(torch.ones(4, 2), torch.zeros(4).long(), 4)
    with pytest.raises(ValueError, match="at least 2 pairs each"):
        contrastive.perfect_classes_loss([5, 1], 0.1, 0.1)


def test_the_pair_cross_entropy_is_the_mean_negative_log_probability() -> None:
    logits, labels = noise(12, 5), torch.arange(12) % 5
    expected = -sum(math.log(logits[i].softmax(0)[labels[i]]) for i in range(12)) / 12
    assert contrastive.pair_cross_entropy(logits, labels).item() == pytest.approx(expected)


def test_cosines_and_neighbours_are_those_of_slow_loops() -> None:
    r, labels = labelled(30, 3)
    r = r * noise(30, 1, seed=4).abs()  # lengths must not matter
    cosine = F.cosine_similarity(r[:, None], r[None], dim=2)
    pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
    for got, same in zip(contrastive.mean_cosines(r, labels), (True, False)):
        chosen = [cosine[i, j].item() for i, j in pairs if (labels[i] == labels[j]).item() == same]
        assert got.item() == pytest.approx(sum(chosen) / len(chosen))
    for k in (1, 5):
        right = 0
        for i in range(30):
            near = sorted((j for j in range(30) if j != i), key=lambda j: -cosine[i, j].item())[:k]
            votes = [labels[j].item() for j in near]
            winner = min(sorted(set(votes)), key=lambda label: -votes.count(label))
            right += winner == labels[i].item()
        assert contrastive.neighbour_accuracy(r, labels, k).item() == pytest.approx(right / 30)


def test_neighbours_know_separate_classes_and_guess_random_ones() -> None:
    labels = torch.arange(200) % 5
    apart = torch.eye(5)[labels] + 0.1 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert contrastive.neighbour_accuracy(apart, labels) > 0.99
    assert contrastive.neighbour_accuracy(noise(200, 5), labels).item() == pytest.approx(0.2, abs=0.12)
