"""Executing notebooks through Papermill: strict parameters, live output, and a result only if it is a success."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", message="IProgress not found"
    )  # papermill asks tqdm for a widget that we do not use
    import papermill
from traitlets.config import Config

from disentlib.experiments.parameters import Parameter, ParameterError, notebook_parameters, resolve
from disentlib.experiments.places import source_of

__all__ = ["execute", "parse_value", "source_of"]


def parse_value(text: str, parameter: Parameter | None) -> object:
    """A value from the command line by its parameter's declared type; ParameterError if it does not fit."""
    if parameter is None or parameter.type == "str":
        return text
    try:
        value = json.loads({"True": "true", "False": "false"}.get(text, text))
    except ValueError:
        raise ParameterError(f"{parameter.name} must be {parameter.type}, got {text!r}: {parameter.help}") from None
    return float(value) if parameter.type == "float" and isinstance(value, int) else value


def execute(source: Path, output: Path, parameters: Mapping[str, object], live: bool = True) -> Path:
    """Run `source` with `parameters` and write the executed notebook to `output`.

    The output appears only when every cell has run: what a failed or killed run leaves is `<output>.part.ipynb`. A
    killed kernel's partial notebook looks like a success, so nothing but this rename says that a run is complete.
    ParameterError before anything starts; papermill's own error for a failing cell.
    """
    resolve(source.stem, notebook_parameters(source), parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part.ipynb")
    with tempfile.TemporaryDirectory(prefix="k") as sockets:
        papermill.execute_notebook(
            str(source),
            str(part),
            parameters=dict(parameters),
            progress_bar=False,
            kernel_name="python3",
            stdout_file=sys.stdout if live else None,
            stderr_file=sys.stderr if live else None,
            # Unix sockets in a folder of their own: TCP ports can be taken twice when kernels start side by side.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/k"}}),
            coalesce_streams=True,
        )
    os.replace(part, output)
    return output
