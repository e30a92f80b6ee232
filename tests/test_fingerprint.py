"""Fingerprints: every change that can alter a number changes them, and nothing else does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from disentlib.experiments import fingerprint

PACKAGE = Path(fingerprint.__file__).parents[1]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that fingerprints are taken of."""
    shutil.copytree(PACKAGE, tmp_path / "disentlib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path / "disentlib")
    monkeypatch.setattr(fingerprint, "_digest", fingerprint._digest.__wrapped__)
    return tmp_path / "disentlib"


def code() -> dict[str, str]:
    return fingerprint.code_of(["beta_vae"], "dsprites")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("training.py", {"training"}),
        ("networks/convolutional.py", {"training"}),
        ("networks/latent.py", set()),
        ("models/beta_vae.py", {"training"}),
        ("models/base.py", {"training", "evaluation"}),
        ("losses/elbo.py", {"training", "evaluation"}),
        ("data/dsprites.py", {"training"}),
        ("data/files.py", {"training"}),
        ("data/dataset.py", {"training", "evaluation"}),
        ("metrics/mig.py", {"evaluation"}),
        ("metrics/checks.py", {"evaluation"}),
        ("experiments/evaluation.py", {"evaluation"}),
        ("models/beta_gvae.py", set()),
        ("data/faces.py", set()),
        ("figures.py", set()),
    ],
)
def test_it_changes_with_the_code_that_is_used(copy: Path, file: str, changes: set[str]) -> None:
    before, whole = code(), fingerprint.package()
    with open(copy / file, "a", encoding="utf-8") as source:
        source.write("ANOTHER = 1\n")
    after = code()
    assert {part for part in before if before[part] != after[part]} == changes
    assert fingerprint.package() != whole


def test_a_changed_number_in_the_midst_of_a_function_counts(copy: Path) -> None:
    before, path = code(), copy / "losses" / "elbo.py"
    text = path.read_text(encoding="utf-8")
    assert "0.5 *" in text
    path.write_text(text.replace("0.5 *", "0.6 *"), encoding="utf-8")
    assert code()["training"] != before["training"]


def test_remarks_docstrings_and_layout_do_not_count(copy: Path) -> None:
    before, path = code(), copy / "training.py"
    text = re.sub(r'^(\s*""")(?=\w)', r"\1Other words. ", path.read_text(encoding="utf-8"), flags=re.M)
    assert text.count("Other words") > 10
    path.write_text("# a remark\n\n" + text.replace("_FORMAT = ", "_FORMAT  =   "), encoding="utf-8")
    assert code() == before


def test_a_new_module_changes_nothing_but_the_whole_package(copy: Path) -> None:
    before, whole = code(), fingerprint.package()
    (copy / "models" / "newer.py").write_text("x = 1\n", encoding="utf-8")
    assert code() == before and fingerprint.package() != whole


def test_all_of_it_is_what_python_really_imports() -> None:
    """Python also runs the packages' own files, and what these import; that nothing is lacking, the changes tell."""
    program = "import sys, disentlib.models.beta_gvae; print(*sorted(m for m in sys.modules))"
    path = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env=os.environ | path)  # fmt: skip
    used = fingerprint.modules_of("disentlib.models.beta_gvae")
    assert {"disentlib.networks.latent", "disentlib.losses.adversarial", "disentlib.models.base"} < used
    assert used <= set(done.stdout.split())


def test_data_in_memory_have_no_module_of_their_own() -> None:
    assert fingerprint.code_of(["vae"], "toy")["training"] != fingerprint.code_of(["vae"], "mnist")["training"]


def test_code_that_is_known_to_agree_counts_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cars, none = frozenset({"cars3d"}), frozenset()
    monkeypatch.setattr(fingerprint, "_successors", lambda: {"a": ("b", cars), "b": ("c", none)})
    agrees = fingerprint.same_numbers
    assert agrees("a", "c", "dsprites") and agrees("b", "c", "cars3d") and agrees("x", "x", "cars3d")
    assert not agrees("a", "c", "cars3d") and not agrees("c", "a", "dsprites") and not agrees("x", "c", "dsprites")


def test_what_is_promised_is_told_by_whole_digests() -> None:
    """YAML takes some rows of digits for numbers."""
    known = fingerprint._successors()
    assert all(
        isinstance(d, str) and re.fullmatch("[0-9a-f]{16}", d) for old, (new, _) in known.items() for d in (old, new)
    )
