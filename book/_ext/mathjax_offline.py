"""Serve MathJax from this computer: one file of the installed package `sphinx-mathjax-offline`, not a network address.

That package is a Sphinx extension itself, but it copies all of its 24 MB into every build. One file of it is enough: it
holds every TeX package and draws SVG, which needs no fonts.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"  # also the name of its folder, hence no plain `import`
SCRIPT = "tex-svg-full.js"


def serve_locally(app: Sphinx, config: Config) -> None:
    """Have Sphinx copy the script into `_static` and have every page with maths load it from there."""
    config.html_static_path.append(str(mathjax_script()))
    config.mathjax_path = SCRIPT


def mathjax_script() -> Path:
    """Where the installed package keeps the script."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ExtensionError(f"{PACKAGE} is not installed; run `pip install -r requirements.txt`")
    script = Path(package.origin).parent / "static" / "mathjax" / SCRIPT
    if not script.is_file():
        raise ExtensionError(f"{PACKAGE} is installed, but has no {SCRIPT}")
    return script


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", serve_locally)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
