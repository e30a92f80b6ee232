"""The table that keeps the spread of seeds and the spread of evaluations apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from disentlib.experiments.records import Record
from disentlib.experiments.spread_table import glow_spreads, two_spreads


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]


def seeded(record: Record, seed: int, values: list[float], **spec: object) -> Record:
    changed = record.spec | {"seed": seed} | spec
    return dataclasses.replace(record, spec=changed, metrics=record.metrics | {"factor_vae_evaluations": values})


def test_noise_of_the_evaluation_is_not_taken_for_a_spread_of_seeds(make_record: Callable[..., Record]) -> None:
    generator, record = np.random.default_rng(0), make_record()
    levels = [0.3, 0.5, 0.7, 0.4, 0.6]
    own = [seeded(record, s, (level + generator.normal(0, 0.02, 400)).tolist()) for s, level in enumerate(levels)]
    line = cells(two_spreads(own).text)[1]
    assert line[3:5] == ["5", "400"]
    assert abs(float(line[5]) - np.std(levels, ddof=1)) < 0.01 and abs(float(line[6]) - 0.02) < 0.002


def test_settings_are_not_mixed_and_one_seed_has_no_spread_of_seeds(make_record: Callable[..., Record]) -> None:
    record = make_record()
    one, other = seeded(record, 0, [0.5, 0.5, 0.8]), seeded(record, 0, [0.1, 0.2, 0.3], steps=77)
    lines = cells(two_spreads([one, other, record]).text)[1:]
    assert len(lines) == 2 and {line[5] for line in lines} == {"–"}
    assert {line[6] for line in lines} == {f"{np.std([0.5, 0.5, 0.8], ddof=1):.3f}", "0.100"}


def test_a_line_is_named_by_what_tells_it_from_others_of_its_model(make_record: Callable[..., Record]) -> None:
    base, evaluations = make_record(model="beta_vae"), [0.5, 0.6]
    stage1 = {"parents": {"stage1": {"model": "vae", "parents": {}}}}
    made = [
        seeded(base, 0, evaluations),
        seeded(base, 1, evaluations),  # another seed: no line of its own
        seeded(base, 0, evaluations, hyper=base.spec["hyper"] | {"beta": 0.0}),
        seeded(base, 0, evaluations, **stage1),
        seeded(make_record(model="dip_vae"), 0, evaluations),
    ]
    labels = [line[0] for line in cells(two_spreads(made).text)[1:]]
    beta = base.spec["hyper"].get("beta")
    assert labels == sorted(
        [f"β-VAE, beta {beta}, on nothing", "β-VAE, beta 0.0, on nothing", f"β-VAE, beta {beta}, on VAE", "DIP-VAE"]
    )


def test_without_repeated_evaluations_it_reads_not_run(make_record: Callable[..., Record]) -> None:
    assert cells(two_spreads([make_record()]).text)[1][0] == "not run"


def test_the_spread_of_glows_is_kept_apart_from_that_of_seeds(make_record: Callable) -> None:
    """The case of `statistics.spreads`: means 2 and 12, each ± 1 over two seeds."""
    records = []
    for glow, values in {0: (1.0, 3.0), 1: (11.0, 13.0)}.items():
        for seed, value in enumerate(values):
            record = make_record(seed, mig=value)
            parents = {"parents": {"glow": {"seed": glow}}}
            records.append(dataclasses.replace(record, spec=record.spec | parents))
    line = cells(glow_spreads(records, {"mig": "MIG"}).text)[1]
    assert line == ["MIG", "2.000", "12.000", "7.000", "1.414"]
