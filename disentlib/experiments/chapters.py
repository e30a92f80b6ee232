"""The published edition: executing chapters, cleaning what is committed, and telling a fresh page from a stale one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
from PIL import Image

from disentlib.data.atomic import replacing
from disentlib.experiments import notebooks, places, records
from disentlib.experiments.parameters import profiles
from disentlib.training import best_device

__all__ = ["LIVE", "PAGES", "TOOLS", "chapter_file", "draft", "publish", "publishing", "source_hash", "stale"]

PAGES = ("errata", "reproduction", "status")  # they read records and train nothing
LIVE = ("quickstart", *PAGES)  # executed at every build of the book, never committed
TOOLS = ("training",)  # executed by studies, a page of no book
_KEY = "disentlib"
_HEAVY = 150_000  # characters of base64


def chapter_file(name: str) -> Path:
    """Where the executed edition of notebook `name` lies."""
    return places.book() / "chapters" / f"{name}.ipynb"


def draft(name: str) -> bool:
    """Whether `_toc.yml` does not name the chapter yet: it can be run, and the book has no page of it."""
    toc = places.project() / "_toc.yml"
    named = re.findall(r"book/chapters/(\w+)", toc.read_text(encoding="utf-8")) if toc.exists() else []
    return name not in (*named, *TOOLS)


def source_hash(source: Path) -> str:
    """16 hex digits over what decides a page besides the package: cells, their tags and captions, and the profiles."""
    content = json.loads(source.read_text(encoding="utf-8"))["cells"]
    cells = [(c["cell_type"], "".join(c["source"]), _shown(c["metadata"])) for c in content]
    settings = profiles(source.stem)
    return hashlib.sha256(json.dumps([cells, settings], sort_keys=True).encode()).hexdigest()[:16]


def stale(source: Path) -> str | None:
    """Why the chapter of this notebook has to be executed again; None if it is fresh, a draft, or no chapter at all."""
    if source.stem in TOOLS or draft(source.stem):
        return None
    chapter = chapter_file(source.stem)
    if not chapter.exists():
        return "missing"
    stamp = json.loads(chapter.read_text(encoding="utf-8"))["metadata"].get(_KEY, {})
    if stamp.get("source_hash") != source_hash(source):
        return "stale"
    smoke = stamp.get("parameters", {}).get("profile") == "smoke" and source.stem not in LIVE
    return "only smoke-tested" if smoke else None


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
    notebook.cells.insert(1, _freshness(source.stem, stamp))
    notebook.metadata[_KEY] = stamp
    chapter = chapter_file(source.stem)
    with replacing(chapter) as part:
        part.write_text(nbformat.writes(notebook), encoding="utf-8")
    return chapter


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop progress bars, run-time metadata and paths of this machine; fold the injected parameters.

    A numbered figure may hold nothing but its picture: what a figure's cell shows below it becomes a cell of its own.
    """
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")}
    notebook.cells = [piece for cell in notebook.cells for piece in _pieces(_cleaned(cell))]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"


def _freshness(name: str, stamp: Mapping[str, object]) -> nbformat.NotebookNode:
    """The line below the title that says when and how this page was executed."""
    given = " ".join(f"-p {key} {value}" for key, value in stamp["parameters"].items())
    where = f"commit {stamp['commit']}, " if stamp["commit"] else ""
    text = (
        f"Executed on {stamp['date']} UTC in {stamp['seconds']} s ({where}{stamp['device']}) by "
        f"<code>python -m disentlib publish {name} {given}</code>. Trainings finished before are reused; every "
        f"table and figure names its runs."
    )
    return nbformat.v4.new_markdown_cell(f'<p class="freshness">{text}</p>', id="freshness")


def _cleaned(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    tags = cell.metadata.get("tags", [])
    cell.metadata = _shown(cell.metadata)
    if cell.cell_type == "code":
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
            cell.metadata["mystnb"] = {"code_prompt_show": "Parameters of this run", "code_prompt_hide": "Hide"}
        cell.outputs = [_lighter(_without_paths(o)) for o in cell.outputs if o.get("name") != "stderr"]
    return cell


def _lighter(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with a picture of more than `_HEAVY` characters as a JPEG of high quality, if that is smaller."""
    picture = output.get("data", {}).get("image/png")
    if picture is not None and len(picture) > _HEAVY:
        small = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            image.convert("RGB").save(small, "JPEG", quality=90, subsampling=0)
        encoded = base64.b64encode(small.getvalue()).decode()
        if len(encoded) < len(picture):
            del output["data"]["image/png"]
            output["data"]["image/jpeg"] = encoded
    return output


def _pieces(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cell, and, for a numbered figure, a markdown cell with the HTML that stood below its picture."""
    if "figure" not in cell.metadata.get("mystnb", {}):
        return [cell]
    below = [o["data"]["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]
    cell.outputs = [o for o in cell.outputs if "text/html" not in o.get("data", {})]
    return [cell, *map(nbformat.v4.new_markdown_cell, below)]


def _without_paths(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with the folders of this machine cut off; images have none."""
    data = output.get("data", {})
    for place, key in ((output, "text"), *((data, key) for key in data if key.startswith("text/"))):
        if isinstance(place.get(key), str):
            place[key] = _relative(place[key])
    return output


def _relative(text: str) -> str:
    """`text` with `/here/file` as `file` and `/here` alone as `.`, for each folder that belongs to this machine."""
    known = [places.runs(), places.project(), os.environ.get("DISENTLIB_DATA"), Path.home()]
    for folder in [Path(f) for f in known if f]:
        if folder != Path(folder.anchor):  # without the root no path or address would be whole
            here = rf"(?<![\w.]){re.escape(str(folder))}"
            text = re.sub(rf"{here}(?![\w./-])", ".", re.sub(rf"{here}/", "", text))
    return text


def _shown(metadata: Mapping[str, object]) -> dict[str, object]:
    """The part of a cell's metadata that the book shows: its tags, its caption."""
    return {key: value for key, value in metadata.items() if key in ("tags", "mystnb")}


@contextmanager
def publishing(folder: Path | None) -> Iterator[None]:
    """Kernels started inside write their records to `folder` too."""
    if folder is not None:
        os.environ["DISENTLIB_PUBLISH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DISENTLIB_PUBLISH", None)
