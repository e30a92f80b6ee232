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
from PIL import Image, ImageChops

from disentlib.data.atomic import replacing
from disentlib.experiments import notebooks, places, records
from disentlib.experiments.parameters import profiles
from disentlib.training import best_device

__all__ = ["LIVE", "PAGES", "TOOLS", "chapter_file", "draft", "publish", "publishing", "reword", "source_hash", "stale"]

PAGES = ("errata", "reproduction", "status")  # they read records and train nothing
LIVE = ("quickstart", *PAGES)  # executed at every build of the book, never committed
TOOLS = ("training",)  # executed by studies, a page of no book
_KEY = "disentlib"
_LIGHT, _HEAVY = 30_000, 150_000  # characters of base64
_SEEN = 4  # of 255: a colour that is off by more can be seen


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
    return _hash([(c["cell_type"], "".join(c["source"]), _shown(c["metadata"])) for c in _cells(source)], source)


def _code_hash(source: Path) -> str:
    """16 hex digits over what decides what a page computes: its code and the profiles."""
    return _hash(["".join(c["source"]) for c in _cells(source) if c["cell_type"] == "code"], source)


def _cells(source: Path) -> list[dict]:
    return json.loads(source.read_text(encoding="utf-8"))["cells"]


def _hash(content: object, source: Path) -> str:
    return hashlib.sha256(json.dumps([content, profiles(source.stem)], sort_keys=True).encode()).hexdigest()[:16]


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
        "code_hash": _code_hash(source),
        "parameters": dict(parameters),
        "seconds": round(time.time() - started),
        **{k: v for k, v in records.environment(best_device()).items() if k in ("device", "commit", "clean", "date")},
    }
    return _written(source.stem, notebook, stamp)


def reword(source: Path) -> Path:
    """The chapter with the words and captions that its notebook has now, and the outputs of its last execution.

    LookupError: there is no chapter, or its code or a profile has changed since. Then it has to be executed.
    """
    chapter = chapter_file(source.stem)
    if not chapter.exists():
        raise LookupError(f"{source.stem} has no chapter yet; publish it first")
    old, notebook = (nbformat.read(path, as_version=4) for path in (chapter, source))
    stamp = dict(old.metadata[_KEY])
    code, fresh = _code_hash(source), stamp["source_hash"] == source_hash(source)
    if not fresh and stamp.get("code_hash") != code:  # older chapters have no hash of their code
        raise LookupError(f"the code of {source.stem} has changed since it was executed; publish it again")
    notebook.metadata, groups = old.metadata, iter(_executed(old))
    notebook.cells = [piece for cell in notebook.cells for piece in _as_executed(cell, groups)]
    stamp |= {"code_hash": code}
    if not fresh:
        stamp |= {"source_hash": source_hash(source), "reworded": records.environment(best_device())["date"]}
    return _written(source.stem, notebook, stamp)


def _executed(chapter: nbformat.NotebookNode) -> list[list[nbformat.NotebookNode]]:
    """The code cells of a chapter, each with what came of it: the injected parameters, what stands below a figure."""
    groups: list[list[nbformat.NotebookNode]] = []
    for cell in chapter.cells:
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", []):
            groups.append([cell])
        elif groups and (cell.cell_type == "code" or cell.source.startswith("<")):
            groups[-1].append(cell)
    return groups


def _as_executed(cell: nbformat.NotebookNode, groups: Iterator) -> list[nbformat.NotebookNode]:
    if cell.cell_type != "code":
        return [cell]
    old, *below = next(groups)
    cell.update(outputs=old.outputs, execution_count=old.execution_count)
    return [cell, *below]


def _written(name: str, notebook: nbformat.NotebookNode, stamp: Mapping[str, object]) -> Path:
    clean(notebook)
    notebook.cells.insert(1, _freshness(name, stamp))
    notebook.metadata[_KEY] = stamp
    chapter = chapter_file(name)
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
        + (f" Words revised on {stamp['reworded']} UTC." if "reworded" in stamp else "")
    )
    return nbformat.v4.new_markdown_cell(f'<p class="freshness">{text}</p>', id="freshness")


def _cleaned(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    tags = cell.metadata.get("tags", [])
    cell.metadata = _shown(cell.metadata)
    if cell.cell_type == "code":
        if "injected-parameters" in tags:
            cell.metadata["tags"] = list(dict.fromkeys([*tags, "hide-input"]))
            cell.metadata["mystnb"] = {"code_prompt_show": "Parameters of this run", "code_prompt_hide": "Hide"}
        cell.outputs = [_lighter(_without_paths(o)) for o in cell.outputs if o.get("name") != "stderr"]
    return cell


def _lighter(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The output with its picture in 256 colours where they are enough; if not, a heavy one as a good JPEG."""
    picture = output.get("data", {}).get("image/png", "")
    if len(picture) > _LIGHT:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            kind, small = _compressed(image.convert("RGB"))
        if len(small) < len(picture) and (kind == "image/png" or len(picture) > _HEAVY):
            del output["data"]["image/png"]
            output["data"][kind] = small
    return output


def _compressed(image: Image.Image) -> tuple[str, str]:
    """Mime type and base64 of the file."""
    few = image.quantize(256, dither=Image.Dither.NONE)
    worst = max(high for _, high in ImageChops.difference(image, few.convert("RGB")).getextrema())
    kind, file = "png" if worst <= _SEEN else "jpeg", io.BytesIO()
    if kind == "png":
        few.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=90, subsampling=0)
    return f"image/{kind}", base64.b64encode(file.getvalue()).decode()


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
