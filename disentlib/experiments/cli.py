"""`python -m disentlib`: run a notebook, make the book's chapters, list what there is."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from papermill.exceptions import PapermillExecutionError

from disentlib import data, models
from disentlib.data import DataError
from disentlib.experiments import chapters, notebooks, places, records, runs, weights
from disentlib.experiments.parameters import Parameter, ParameterError, notebook_parameters, profiles
from disentlib.experiments.studies import StudyError
from disentlib.experiments.study_cli import add_study

__all__ = ["main"]

# Errors of the caller, as a notebook's kernel names them.
_CALLERS = ("ParameterError", "DataError", "MissingData", "RecordError", "StudyError")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. Errors of the caller are one line on stderr and status 2."""
    options = _parser().parse_args(arguments)
    try:
        return options.do(options)
    except KeyboardInterrupt:
        print("disentlib: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (StudyError, ParameterError, LookupError, records.RecordError, DataError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error  # a KeyError quotes its message
        print(f"disentlib: {message}", file=sys.stderr)
        return 2
    except PapermillExecutionError as error:  # its text is the whole traceback, which stands in the notebook too
        print(f"disentlib: {error.ename}: {error.evalue}", file=sys.stderr)
        print(
            "disentlib: the notebook up to there, with the traceback, is the .part.ipynb beside its output",
            file=sys.stderr,
        )
        return 2 if error.ename in _CALLERS else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m disentlib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", _run, "execute one notebook with parameters")
    run.add_argument("notebook", help="its name, such as beta_gvae, or a path")
    run.add_argument("--profile", help="short for -p profile NAME")
    run.add_argument("-o", "--output", type=Path, help="the executed notebook (default: in runs/notebooks/)")
    run.add_argument("--keep", action="store_true", help="also put its records into book/records/")
    publish = _command(commands, "publish", _publish, "execute notebooks as chapters of the book")
    publish.add_argument("notebooks", nargs="+", metavar="notebook")
    publish.add_argument("--profile", help="short for -p profile NAME")
    publish.add_argument("--if-missing", action="store_true", help="do nothing if the chapter is there and fresh")
    publish.add_argument(
        "--words",
        action="store_true",
        help="execute nothing, whatever -p says: new words round the outputs that are there",
    )
    again = _command(commands, "rerun", _rerun, "train again what a record of the book says, changed if you like")
    again.add_argument("record", help="its id, from the folded line under a figure or table")
    for command in (run, publish, again):
        command.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    pages = _command(commands, "chapters", _chapters, "execute each chapter that is missing, stale or live")
    pages.add_argument("--check", action="store_true", help="only say which are, and fail if a committed one is")
    ship = _command(commands, "ship", _ship, "put a finished run's weights into the book, for what builds on them")
    ship.add_argument("record", help="its id, of a run in runs/")
    add_study(commands)
    _command(commands, "list", _list, "the notebooks with parameters and profiles, the models and data sets")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, do: Callable, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help)
    command.set_defaults(do=do)
    return command


def _run(options: argparse.Namespace) -> int:
    source, given = _asked(options)
    output = options.output or places.runs() / "notebooks" / f"{_run_name(source, given)}.ipynb"
    print(f"executing {source.stem} → {output}", flush=True)
    started = time.time()
    with chapters.publishing(places.published_records() if options.keep else None):
        notebooks.execute(source, output, given)
    print(f"done in {time.time() - started:.0f} s: {output}")
    return 0


def _run_name(source: Path, given: dict[str, object]) -> str:
    """A file name that tells runs with other parameters apart: `beta_gvae-laptop-seed=3`."""
    profile = given.get("profile", notebook_parameters(source)["profile"].default)
    others = [f"{name}={value}" for name, value in sorted(given.items()) if name != "profile"]
    return re.sub(r"[^\w.=,\-]+", "_", "-".join([source.stem, str(profile), *others]))[:120]


def _publish(options: argparse.Namespace) -> int:
    for source, given in [_asked(options, name) for name in options.notebooks]:
        if not (options.if_missing and chapters.stale(source) is None):
            chapter = chapters.reword(source) if options.words else chapters.publish(source, given)
            print(f"published {chapter}", flush=True)
    return 0


def _chapters(options: argparse.Namespace) -> int:
    needed = {path: chapters.stale(path) for path in sorted(_notebooks().glob("*.ipynb"))}
    if options.check:
        bad = {path.stem: why for path, why in needed.items() if why and path.stem not in chapters.LIVE}
        print("\n".join(f"{name}: {why}" for name, why in bad.items()) or "every chapter is fresh")
        return 1 if bad else 0
    for path, why in needed.items():
        if why or path.stem in chapters.LIVE:
            print(f"{path.stem}: {why or 'live'}, executing", flush=True)
            trains = path.stem in chapters.LIVE and "reuse" in notebook_parameters(path)
            chapters.publish(path, {"reuse": False} if trains else {})
    return 0


def _rerun(options: argparse.Namespace) -> int:
    path = places.published_records() / f"{options.record}.json"
    if not path.exists():
        raise LookupError(f"the book has no record {options.record!r}; its records are in book/records/")
    old = records.read(path)
    changed = {name: _like(old.get(name), name, text) for name, text in options.parameter}
    try:
        new = runs.run(runs.spec_of(old, **changed), reuse=False).record
    except ValueError as error:  # a setting out of range
        raise ParameterError(str(error)) from error
    for name, value in new.metrics.items():
        if isinstance(value, float) and name != "evaluation_seconds":  # a cost, not a score
            print(f"{name:<20} {value:>10.4f}   in the book's record: {old.metrics.get(name)}")
    return 0


def _ship(options: argparse.Namespace) -> int:
    path = weights.ship(options.record)
    print(f"{path.relative_to(places.project())}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _like(value: object, name: str, text: str) -> object:
    """A value from the command line, of the type that the record has there."""
    kind = "str" if value is None else type(value).__name__
    return notebooks.parse_value(text, Parameter(name, kind, value, "the type that the record has"))


def _list(_: argparse.Namespace) -> int:
    for path in sorted(_notebooks().glob("*.ipynb")):
        print(f"{path.stem} (profiles: {', '.join(profiles(path.stem))})")
        for parameter in notebook_parameters(path).values():
            print(f"  {parameter.name}: {parameter.type} = {parameter.default!r}  # {parameter.help}")
    print(f"models: {', '.join(models.names())}\ndata sets: {', '.join(data.names())}")
    return 0


def _asked(options: argparse.Namespace, name: str | None = None) -> tuple[Path, dict[str, object]]:
    source = notebooks.source_of(name or options.notebook, _notebooks())
    known = notebook_parameters(source)
    given = {name: notebooks.parse_value(text, known.get(name)) for name, text in options.parameter}
    if options.profile is not None:
        given["profile"] = options.profile
    return source, given


def _notebooks() -> Path:
    return places.project() / "notebooks"
