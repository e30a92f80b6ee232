"""What several runs build on is trained once, whoever asks and however many at a time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from disentlib import training
from disentlib.experiments import records
from disentlib.experiments.runs import Spec, only_one, prerequisite

ROOT = Path(__file__).parents[1]
SPEC = Spec(
    "mnist", "beta_vae", "test", source="rendered", image_size=28, train_size=64, steps=150, batch_size=8,
    hyper={"code_dims": 3, "beta": 1.0, "likelihood": "bernoulli", "lr": 1e-3}, eval_points=100,
)  # fmt: skip
ASKS = """
import json, sys, time
from pathlib import Path
from disentlib.experiments import runs
folder, me = Path(sys.argv[1]), sys.argv[2]
(folder / f"ready-{me}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.01)
run = runs.prerequisite(runs.Spec(**json.loads(sys.argv[3])))
weights = sum(float(w.double().sum()) for w in run.model.state_dict().values())
print(json.dumps({"fresh": run.fresh, "id": run.record.id, "weights": weights, "losses": run.record.losses}))
"""
HOLDS = """
import sys, time
from pathlib import Path
from disentlib.experiments.runs import only_one
with only_one(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(600)
"""


def python(program: str, *words: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_need_the_same_run_train_it_once(runs_folder: Path, tmp_path: Path) -> None:
    spec = json.dumps(dataclasses.asdict(SPEC))
    asking = [python(ASKS, str(tmp_path), name, spec) for name in "ab"]
    said = [process.communicate(timeout=240) for process in asking]
    assert [process.returncode for process in asking] == [0, 0], said
    first, second = sorted(
        (json.loads(out.splitlines()[-1]) for out, _ in said), key=lambda answer: not answer["fresh"]
    )
    assert first["fresh"] and not second["fresh"]
    assert {k: v for k, v in first.items() if k != "fresh"} == {k: v for k, v in second.items() if k != "fresh"}
    assert sum(f"another process is at {first['id']}" in err for _, err in said) == 1  # they did meet
    assert [path.parent.name for path in runs_folder.glob("*/record.json")] == [first["id"]]


def test_a_lock_falls_with_the_process_that_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    holder = python(HOLDS, str(tmp_path / "run"))
    assert holder.stdout.readline() == "holding\n"
    asked, killed = time.monotonic(), 1.0
    threading.Timer(killed, holder.kill).start()
    with only_one(tmp_path / "run"):
        waited = time.monotonic() - asked
    holder.communicate()
    assert killed - 0.1 < waited < 60 and "another process is at run; waiting" in capsys.readouterr().err


def test_it_is_taken_by_its_record_as_often_as_it_is_asked_for(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(SPEC, steps=3)
    monkeypatch.setattr(training, "best_device", lambda: torch.device("cpu"))
    first, second = prerequisite(spec), prerequisite(spec)
    assert first.fresh and not second.fresh and second.record == first.record
    assert records.read(runs_folder / first.record.id / "record.json") == first.record
