"""One page for a person with a minute: status of each gate, what failed, in how many rows, pictures, what to do.

Below it, for whoever has more time, each check with what it found, and what Great Expectations calls it.

Made of the gates' reports alone, and of the pictures their offending rows name: the same reports give the same bytes.
Self-contained: pictures are embedded, and names from the data are escaped.
"""

import base64
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import locked, write_text
from wsss_mm.formats import read_rows
from wsss_mm.gates import GATES, GateResult, Outcome, report_path
from wsss_mm.gates.reading import read_report
from wsss_mm.pages import page_head, stylesheet
from wsss_mm.patches.images import read_image
from wsss_mm.patches.shards import is_stored_inside
from wsss_mm.places import PATCH_MANIFEST

logger = logging.getLogger(__name__)

PAGE = places.GATES_PAGE

_PICTURES, _SIDE = 6, 120  # how many of a check are shown, and their longer side in px
_LIKE = 2  # typical ones beside them
_WORDS = {"passed": "passed", "warned": "passed with warnings", "failed": "failed", "absent": "has not run"}
_SIGNS = {"passed": "✓", "warned": "!", "failed": "✗", "absent": "-"}
_TAGS = {"critical": "stops the line", "warning": "warning"}

_GROUPS = ("groups of slides", "groups of patches")
_ROW = ("group", "slides")  # what a group is, before what is typical of it

Picture = Callable[[str], "Image.Image | None"]


def write_page(root: Path) -> Path:
    """Write reports/gates/index.html from the reports that are there."""
    path = root / PAGE
    with locked(path):
        write_text(path, render_page(root))
    return path


def render_page(root: Path) -> str:
    """HTML of the page."""
    reports = {name: _report(root / report_path(name)) for name in GATES}
    states = {name: report.status if report else "absent" for name, report in reports.items()}
    pictures = _pictures(root)
    cards = "".join(_card(name, states[name], reports[name]) for name in GATES)
    sections = "".join(_section(name, report, pictures) for name, report in reports.items() if report)
    return (
        f"{page_head()}<title>Gates</title>"
        f"<style>{stylesheet()}</style></head><body>\n"
        f'<main class="sheet-page gates-page">\n<h1>Gates</h1>\n<p>{_summary(states)}</p>\n'
        f'<nav class="gates" aria-label="Gates">{cards}</nav>\n{sections}</main></body></html>\n'
    )


def _report(path: Path) -> GateResult | None:
    """A gate's report; None if it has none, or none that can be read: it may be older than this page, or broken."""
    try:
        return read_report(path)
    except InputError:
        return None


def _summary(states: dict[str, str]) -> str:
    failed = [name for name, state in states.items() if state == "failed"]
    if failed:
        todo = "Do what its failed checks say, then run <code>dvc repro</code>."
        return f"<b>The line stopped at gate {escape(_called(failed[0]))}.</b> {todo}"
    if "absent" in states.values():
        return "Nothing stops the line. Some gates have not run yet."
    if "warned" in states.values():
        return "Nothing stops the line, but there are warnings: look at them before you trust the results."
    return "Every check of every gate passed."


def _card(name: str, state: str, report: GateResult | None) -> str:
    if report is None:
        count = "&nbsp;"
    elif report.failures:
        count = f"{len(report.failures)} of {len(report.checks)} checks failed"
        if report.unjudged:
            count += f", {len(report.unjudged)} not judged"
    else:
        count = f"{len(report.checks)} checks"
    return (
        f'<a class="{state}" href="#{name}"><b>{escape(_called(name))}</b>'
        f'<span class="word">{_SIGNS[state]} {_WORDS[state]}</span><br><small>{count}</small></a>'
    )


def _called(gate: str) -> str:
    """A gate's name as people say it."""
    return gate.replace("_", "-")


def _section(name: str, report: GateResult, pictures: dict[str, Picture]) -> str:
    sizes = report.sizes(nothing=False)
    looked = f"; looked at {escape(sizes)}" if sizes else ""
    follows: dict[str, list[Outcome]] = {}
    for check in report.unjudged:
        follows.setdefault(str(check.because), []).append(check)
    shown = "".join(_failure(check, pictures, follows.get(check.name, [])) for check in report.failures)
    return (
        f'<h2 id="{name}">{escape(_called(name).capitalize())}</h2>'
        f'<p class="soft">{_WORDS[report.status]}{looked}</p>'
        f"{shown}{_groups(report)}{_all_checks(report.checks)}\n"
    )


def _failure(check: Outcome, pictures: dict[str, Picture], follows: Sequence[Outcome]) -> str:
    """What was expected, what was found instead, in which rows, what to do, and what could not be judged for it."""
    if check.unexpected:
        count = f"<b>{check.unexpected} of {check.rows} {escape(check.table)}</b>" if check.rows > 1 else "<b>Found</b>"
        more = len(check.offending) > len(check.examples)
        rows = f"<p>{count}:</p>{_list(check.examples)}" + (_names(check) if more else "")
    else:
        rows = f"<p><b>Found</b>: {escape(str(check.observed))}</p>"
    return (
        f'<div class="check {_state(check)}"><h3>Not so: {escape(check.says)}'
        f'<span class="tag">{_TAGS[check.severity]}</span></h3>'
        f"{rows}{_gallery(check, pictures)}"
        f'<p class="do"><b>What to do:</b> {escape(check.remedy or "")}.</p>{_follows(follows)}'
        f'<p class="soft">Check <code>{escape(check.name)}</code></p></div>'
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _names(check: Outcome) -> str:
    """All rows that fail, as far as the report lists them."""
    more = ", ..." if check.unexpected > len(check.offending) else ""
    names = f'<p class="names">{escape(", ".join(check.offending))}{more}</p>'
    return f"<details><summary>All {check.unexpected} by name</summary>{names}</details>"


def _follows(checks: Sequence[Outcome]) -> str:
    """What means nothing until this is mended."""
    if not checks:
        return ""
    number = f"{len(checks)} more checks mean" if len(checks) > 1 else "One more check means"
    says = _list([check.says for check in checks])
    return f"<details><summary>{number} nothing until this is mended, and judged nothing</summary>{says}</details>"


def _state(check: Outcome) -> str:
    if check.because is not None:
        return "absent"
    return "passed" if check.passed else "failed" if check.severity == "critical" else "warned"


def _gallery(check: Outcome, pictures: dict[str, Picture]) -> str:
    find = pictures.get(check.index or "")
    if find is None:
        return ""
    figures = [*_figures(check.offending[:_PICTURES], find), *_figures(check.typical[:_LIKE], find, "typical here: ")]
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def _figures(names: Sequence[str], find: Picture, before: str = "") -> Iterator[str]:
    for name in names:
        image = find(name)
        if image is not None:
            image.thumbnail((_SIDE, _SIDE))
            buffer = io.BytesIO()
            image.save(buffer, format="PNG")
            data = base64.b64encode(buffer.getvalue()).decode()
            title = escape(before + name, quote=True)
            yield (
                f'<figure{" class=like" if before else ""}><img alt="{title}" src="data:image/png;base64,{data}">'
                f"<figcaption>{title}</figcaption></figure>"
            )


def _groups(report: GateResult) -> str:
    """What is typical of the cohort, where the gate compared rows with each other."""
    found = [table.get("values") for name, table in report.measured.items() if name in _GROUPS]
    if not found or not isinstance(found[0], list) or not all(isinstance(row, dict) for row in found[0]):
        return ""
    of_rows = [{name: row[name] for name in sorted(row, key=lambda name: name not in _ROW)} for row in found[0]]
    heads, rows = of_rows[:1], [[str(cell) for cell in row.values()] for row in of_rows]
    cells = "".join(
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in (*(("th", head) for head in heads), *(("td", row) for row in rows))
    )
    summary = "What is typical, and what is odd beside it"
    return f'<details><summary>{summary}</summary><div class="wide"><table>{cells}</table></div></details>'


def _all_checks(checks: Sequence[Outcome]) -> str:
    """Each check with what it found, by what it looked at."""
    parts, table = [], None
    for check in checks:
        if check.table != table:
            table = check.table
            parts.append(f'<tr><th colspan="4">{escape(_sentence(table))}</th></tr>')
        parts.append(_row(check))
    head = f"<details><summary>All {len(checks)} checks, and what each found</summary>"
    return f'{head}<div class="wide"><table class="checks">{"".join(parts)}</table></div></details>'


def _row(check: Outcome) -> str:
    state = _state(check)
    names = (
        f"{escape(check.name)}<br>{escape(check.expectation)}" if check.expectation != "none" else escape(check.name)
    )
    return (
        f'<tr class="{state}"><td>{_SIGNS[state]}</td><td>{escape(check.says)}</td><td>{escape(_found(check))}</td>'
        f"<td><code>{names}</code></td></tr>"
    )


def _found(check: Outcome) -> str:
    """What a check found, in a few words."""
    if check.because is not None:
        return f"not judged, because {check.because} failed"
    if check.observed is not None:
        return str(check.observed)
    if check.unexpected:
        share = f"{check.unexpected} of {check.rows} are not so"
        return f"{share} ({check.unexpected / max(check.rows, 1):.1%}), which is tolerated" if check.passed else share
    return f"so in all {check.rows}" if check.rows > 1 else "so" if check.rows else "there are none"


def _pictures(root: Path) -> dict[str, Picture]:
    """How to find the picture of a row, by the column that names it."""
    folder = root / places.PATCHES
    paths: dict[str, str] = {}
    try:
        manifest = read_rows(folder / places.MANIFEST, PATCH_MANIFEST, columns=["patch_id", "path"])
        paths = dict(zip(manifest["patch_id"], manifest["path"], strict=True))
    except (InputError, TypeError):  # no manifest, or a broken one, which is what a gate says
        logger.debug("no manifest to take pictures from")

    def patch(name: str) -> Image.Image | None:
        path = paths.get(name)
        return _read(folder / str(path)) if is_stored_inside(folder, path) else None

    return {"patch_id": patch, "slide_id": lambda name: _slide(root, name)}


def _read(path: Path) -> Image.Image | None:
    try:
        return Image.fromarray(read_image(path))
    except InputError:
        return None


def _slide(root: Path, name: str) -> Image.Image | None:
    """A slide's overview, if the table of slides names a file that opens."""
    from wsss_mm.cohort import TABLE
    from wsss_mm.cohort.cohort import read_cells
    from wsss_mm.slides import open_slide
    from wsss_mm.slides.table import resolve

    table = root / TABLE
    try:
        slides = read_cells(table, "dvc repro -f cohort")
        path = slides.loc[slides["slide_id"] == name, "path"].iloc[0]
        with open_slide(resolve(table, path), 1.0) as reader:  # um/px plays no part in an overview
            return Image.fromarray(reader.thumbnail(_SIDE))
    except (InputError, OSError, ValueError, KeyError, IndexError):
        return None
