"""What arithmetic a run gets, and that its record and its provenance say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from disentlib.experiments import precision, provenance, run
from disentlib.experiments.precision import available
from disentlib.experiments.runs import Spec


def spec() -> Spec:
    hyper = {"code_dims": 2, "lr": 1e-3, "beta": 1.0}
    sizes = {"image_size": 32, "train_size": 64, "steps": 2, "batch_size": 8, "eval_points": 20}
    return Spec("dsprites", "beta_vae", "smoke", hyper=hyper, source="rendered", precision="bf16", **sizes)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"neon": True, "bf16": True}, "bf16"),
        ({}, "float32"),
    ],
)
def test_bfloat16_needs_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert available("bf16", "cpu") == expected
    assert available("float32", "cpu") == "float32"


@pytest.mark.parametrize("native", [True, False])
def test_a_record_says_what_was_computed_with_and_its_id_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, runs_folder: Path, native: bool
) -> None:
    monkeypatch.setattr(precision, "computes_bf16", lambda device: native)
    taken = "bf16" if native else "float32"
    found = run(spec(), reuse=False, progress=False)
    assert found.record.id == spec().id
    assert found.record.environment["arithmetic"] == taken
    assert f", {taken}, " in provenance([found.record]).text
