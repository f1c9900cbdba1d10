"""index.html of a run: what was found on each slide, for any browser and without a server."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm.errors import InputError
from wsss_mm.files import locked, write_text
from wsss_mm.pages import environment
from wsss_mm.places import OVERVIEW
from wsss_mm.wsi.viewer.results import Result, read_results

if TYPE_CHECKING:
    from jinja2 import Environment


def write_overview(folder: Path, place: Path | None = None) -> None:
    """Write index.html beside the folders of the slides; equal results give equal bytes.

    A folder without any results gets none.

    Args:
        folder: of the results.
        place: where they will be; where they are if None.
    """
    if not folder.is_dir():
        return
    command = f"wsss-mm view {shlex.quote((place or folder).as_posix())}"
    with locked(folder / OVERVIEW):
        try:
            results = read_results(folder)
        except InputError:
            return
        write_text(folder / OVERVIEW, render_overview(results, command=command))


def render_overview(results: list[Result], command: str | None = None) -> str:
    """The page.

    Args:
        results: of the run.
        command: starts the viewer; None on the page that the viewer itself serves.
    """
    return make_environment().get_template("overview.html").render(results=results, command=command)


def make_environment() -> "Environment":
    """Templates of the pages, with how figures are written."""
    templates = environment("wsss_mm.wsi.viewer")
    templates.filters |= {
        "mm2": lambda area: f"{area:.3f}",
        "percent": lambda share: "\u2013" if share is None else f"{100 * share:.1f} %",
        "ratio": lambda value: "\u2013" if value is None else f"{value:.2f}",
    }
    return templates
