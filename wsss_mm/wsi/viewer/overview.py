"""index.html of a run: what was found on each slide, for any browser and without a server."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from wsss_mm.errors import InputError
from wsss_mm.files import locked, write_text
from wsss_mm.pages import environment
from wsss_mm.places import OVERVIEW, SLIDES_TABLE
from wsss_mm.wsi.viewer.results import Result, failed_in, read_results

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPT = Path(__file__).parent / "static/list.js"


def write_overview(folder: Path, place: Path | None = None) -> None:
    """Write index.html beside the folders of the slides; equal results give equal bytes.

    A folder without any results, and without slides that failed, gets none.

    Args:
        folder: of the results.
        place: where they will be; where they are if None.
    """
    if not folder.is_dir():
        return
    command = f"wsss-mm view {shlex.quote((place or folder).as_posix())}"
    with locked(folder / OVERVIEW):
        failed = failed_in(folder / SLIDES_TABLE)
        try:
            results = read_results(folder)
        except InputError:
            results = []
        if results or failed:
            write_text(folder / OVERVIEW, render_overview(results, command=command, failed=failed))


def render_overview(
    results: Sequence[Result],
    command: str | None = None,
    *,
    failed: Mapping[str, str] | None = None,
    aside: Mapping[str, str] | None = None,
    since: int = 0,
) -> str:
    """The page.

    Args:
        results: of the run.
        command: starts the viewer; None on the page that the viewer itself serves.
        failed: why slides failed when they were last segmented, by slide_id.
        aside: why results are set aside, by their names.
        since: how many slides were segmented since the results were read.
    """
    failed, aside = failed or {}, aside or {}
    cards = [_card(result, failed.get(result.name, ""), aside.get(result.name, "")) for result in results]
    page = make_environment().get_template("overview.html")
    return page.render(
        cards=cards,
        lost={name: why for name, why in failed.items() if name not in {result.name for result in results}},
        classes={item.code: item for result in results for item in result.classes},
        command=command,
        since=since,
        script="" if command is None else Markup(_SCRIPT.read_text(encoding="utf-8")),
    )


def _card(result: Result, failed: str, aside: str) -> dict[str, Any]:
    """What stands of a result on the page, with what it is sorted and found by."""
    sure = [(item.confidence, item.area_mm2) for item in result.classes if item.confidence is not None]
    area = sum(weight for _, weight in sure)
    facts = {
        "name": result.name,
        "tissue": result.tissue_mm2,
        "ratio": result.tumour_stroma_ratio,
        "sure": sum(mean * weight for mean, weight in sure) / area if area else None,
        "noted": bool(result.warning or failed),
        "aside": bool(aside),
        "text": " ".join(filter(None, (result.name, result.slide_file, result.model, result.warning, failed, aside))),
        **{f"share.{item.code}": item.share for item in result.classes},
    }
    return {"result": result, "failed": failed, "aside": aside, "facts": facts}


def make_environment() -> "Environment":
    """Templates of the pages, with how figures are written."""
    templates = environment("wsss_mm.wsi.viewer")
    templates.filters |= {
        "mm2": lambda area: f"{area:.3f}",
        "percent": lambda share: "\u2013" if share is None else f"{100 * share:.1f} %",
        "ratio": lambda value: "\u2013" if value is None else f"{value:.2f}",
    }
    return templates
