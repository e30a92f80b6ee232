"""The published edition: executing chapters, cleaning what is committed, and telling a fresh page from a stale one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat

from disentlib.data.atomic import replacing
from disentlib.experiments import notebooks, places, records
from disentlib.experiments.parameters import profiles
from disentlib.training import best_device

__all__ = ["LIVE", "chapter_file", "publish", "publishing", "source_hash", "stale"]

LIVE = ("quickstart",)  # executed at every build of the book, never committed
_KEY = "disentlib"


def chapter_file(name: str) -> Path:
    """Where the executed edition of notebook `name` lies."""
    return places.book() / "chapters" / f"{name}.ipynb"


def source_hash(source: Path) -> str:
    """16 hex digits over what decides a page's content besides the package: the notebook's cells and its profiles."""
    cells = [(c["cell_type"], "".join(c["source"])) for c in json.loads(source.read_text(encoding="utf-8"))["cells"]]
    settings = profiles(source.stem)
    return hashlib.sha256(json.dumps([cells, settings], sort_keys=True).encode()).hexdigest()[:16]


def stale(source: Path) -> str | None:
    """Why the chapter of this notebook has to be executed again; None if it is fresh."""
    chapter = chapter_file(source.stem)
    if not chapter.exists():
        return "missing"
    stamp = json.loads(chapter.read_text(encoding="utf-8"))["metadata"].get(_KEY, {})
    return None if stamp.get("source_hash") == source_hash(source) else "stale"


def publish(source: Path, parameters: Mapping[str, object]) -> Path:
    """Execute a notebook as a chapter of the book; its records go into `book/records/`."""
    raw = places.runs() / "chapters" / f"{source.stem}.ipynb"
    started = time.time()
    with publishing(None if source.stem in LIVE else places.published_records()):
        notebooks.execute(source, raw, parameters)
    notebook = nbformat.read(raw, as_version=4)
    stamp = {
        "source_hash": source_hash(source),
        "parameters": dict(parameters),
        "seconds": round(time.time() - started),
        **{k: v for k, v in records.environment(best_device()).items() if k in ("device", "commit", "clean", "date")},
    }
    clean(notebook)
    notebook.metadata[_KEY] = stamp
    chapter = chapter_file(source.stem)
    with replacing(chapter) as part:
        part.write_text(nbformat.writes(notebook), encoding="utf-8")
    return chapter


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop progress bars, run-time metadata and paths of this machine; fold the injected parameters."""
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")}
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")}
        cell.id = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
            cell.metadata["mystnb"] = {"code_prompt_show": "Parameters of this run", "code_prompt_hide": "Hide"}
        cell.outputs = [_without_paths(o) for o in cell.outputs if o.get("name") != "stderr"]


def _without_paths(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with the folders of this machine cut off; images have none."""
    for place, key in ((output, "text"), *((output.get("data", {}), k) for k in ("text/plain", "text/html"))):
        if isinstance(place.get(key), str):
            for folder in (
                places.runs(),
                places.project(),
                Path.home(),
                Path(os.environ.get("DISENTLIB_DATA", "/none")),
            ):
                place[key] = re.sub(re.escape(f"{folder}/"), "", place[key])
    return output


@contextmanager
def publishing(folder: Path | None) -> Iterator[None]:
    """Kernels started inside write their records to `folder` too."""
    if folder is not None:
        os.environ["DISENTLIB_PUBLISH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DISENTLIB_PUBLISH", None)
