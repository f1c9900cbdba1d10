"""What stands on the page of many slides."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from wsss_mm.evaluation.areas import COVERAGE
from wsss_mm.findings.document import Block, Cell, Document, Facts, Gallery, Heading, PageTable, Shot, Text
from wsss_mm.findings.pages import (
    NONE,
    RESEARCH,
    UNMEASURED,
    UNVALIDATED,
    closing,
    meaning,
    mm2,
    percent,
    ratio_text,
    span,
)
from wsss_mm.findings.slide import Findings, intervals_of

_CLASSES = 4  # of a table of shares, side by side
_OVERVIEWS, _FIELDS = 5, 4  # pictures side by side
_MOST_SITES = 8


def cohort_document(
    slides: Sequence[Findings],
    failed: Mapping[str, str],
    links: Mapping[str, str],
    overviews: Sequence[Shot],
    shots: Sequence[Shot],
) -> Document:
    """The page of a cohort.

    Args:
        slides: what is known of each, all of the same classes.
        failed: why slides have no findings, by name.
        links: to the pages of slides, by name.
        overviews: a small picture of each.
        shots: fields of each class where the program was most and least certain, over all slides.
    """
    count = f"{len(slides)} slide{'' if len(slides) == 1 else 's'}"
    return Document(f"Tissues on {count}", RESEARCH, tuple(_blocks(slides, failed, links, overviews, shots)))


def _blocks(
    slides: Sequence[Findings],
    failed: Mapping[str, str],
    links: Mapping[str, str],
    overviews: Sequence[Shot],
    shots: Sequence[Shot],
) -> Iterator[Block]:
    yield _facts(slides, failed)
    unlike = [found.result.name for found in slides if found.unlike]
    if unlike:
        shown = ", ".join(unlike[:10]) + (f" and {len(unlike) - 10} more" if len(unlike) > 10 else "")
        yield Text(f"{len(unlike)} of the slides do not look like those the program learnt from: {shown}.", "alarm")
    yield Heading("Areas of all slides together")
    yield _areas(slides)
    unsure = [found for found in slides if not found.result.certain]
    program = slides[0].program
    if unsure:
        some = f"{len(unsure)} of the slides"
        yield Text(UNMEASURED.format(what="these slides" if len(unsure) == len(slides) else some))
    elif program is None or program.errors is None:
        yield Text(UNVALIDATED)
    else:
        yield Text(meaning(program), "small")
    yield Heading("Slides")
    yield _table(slides, links)
    yield from _shares(slides)
    yield Heading("Left out, and why")
    yield from _left_out(slides, failed)
    if shots:
        yield Heading("Where the program was most and least certain")
        yield Gallery(shots, _FIELDS)
    yield Heading("Slides with their tissues")
    yield Gallery(overviews, _OVERVIEWS)
    yield from closing(program, [found.result for found in slides], certain=not unsure)


def _facts(slides: Sequence[Findings], failed: Mapping[str, str]) -> Facts:
    patients = {found.asked.patient for found in slides if found.asked.patient}
    sites = Counter(found.asked.site or "unknown" for found in slides)
    shown = [f"{name} ({count})" for name, count in sites.most_common(_MOST_SITES)]
    if len(sites) > _MOST_SITES:
        shown.append(f"{len(sites) - _MOST_SITES} more")
    resolutions = sorted({f"{found.result.slide_mpp:.3g}" for found in slides}, key=float)
    ratios = [ratio for found in slides if (ratio := found.result.tumour_stroma_ratio) is not None]
    rows = [
        ("Slides", f"{len(slides)}" + (f", and {len(failed)} without findings" if failed else "")),
        ("Patients", f"{len(patients)}" if patients else NONE),
        ("Sites", ", ".join(shown) if set(sites) != {"unknown"} else NONE),
        ("Resolution", f"{', '.join(resolutions)} \u00b5m per pixel"),
        ("Tissue", mm2(sum(found.result.tissue_mm2 for found in slides))),
        ("Tumour-stroma ratio", _middle(ratios, "{:.2f}")),
    ]
    return Facts(rows)


def _middle(values: Sequence[float], form: str) -> str:
    """Median and range over slides."""
    if not values:
        return NONE
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return f"median {middle}, from {low} to {high}" if len(values) > 1 else middle


def _areas(slides: Sequence[Findings]) -> PageTable:
    """Sums over the slides; their interval takes them for one large slide, so that nothing evens out between them."""
    total = sum(found.result.tissue_mm2 for found in slides)
    intervals = None
    if all(found.result.certain for found in slides) and len({found.result.mpp for found in slides}) == 1:
        pixels = np.sum([found.survey.pixels for found in slides], axis=0)
        intervals, _ = intervals_of(pixels, slides[0].program, slides[0].result)
    rows = []
    for index, item in enumerate(slides[0].result.classes):
        area = sum(found.result.classes[index].area_mm2 for found in slides)
        shares = [share for found in slides if (share := found.result.classes[index].share) is not None]
        rows.append(
            [
                Cell(item.name, item.color),
                Cell(f"{area:,.3f}"),
                Cell(span(None if intervals is None else intervals[index])),
                Cell(percent(area / total if total else None)),
                Cell(f"{percent(min(shares))} to {percent(max(shares))}" if shares else NONE),
            ]
        )
    head = ("Tissue", "Area, mm\u00b2", f"{100 * COVERAGE:.0f} % interval, mm\u00b2", "Share", "Share by slide")
    return PageTable(head, rows, (0.3, 0.15, 0.23, 0.1, 0.22))


def _table(slides: Sequence[Findings], links: Mapping[str, str]) -> PageTable:
    rows = [
        [
            Cell(found.result.name, link=links.get(found.result.name)),
            Cell(found.asked.patient or NONE),
            Cell(found.asked.site or NONE),
            Cell(f"{found.result.tissue_mm2:.2f}"),
            Cell(NONE if found.lost_mm2 is None else f"{found.lost_mm2:.2f}"),
            Cell(NONE if found.result.tumour_stroma_ratio is None else _ratio(found)),
            Cell("yes" if found.unlike else "no"),
        ]
        for found in slides
    ]
    head = (
        "Slide",
        "Patient",
        "Site",
        "Tissue, mm\u00b2",
        "Left out, mm\u00b2",
        "Tumour-stroma ratio",
        "Looks unusual",
    )
    return PageTable(head, rows, (0.24, 0.14, 0.12, 0.1, 0.1, 0.2, 0.1), numbers=False)


def _ratio(found: Findings) -> str:
    return ratio_text(found.result.tumour_stroma_ratio, found.ratio)


def _shares(slides: Sequence[Findings]) -> Iterator[Block]:
    """A table of the classes of each slide with intervals, a few classes at a time."""
    classes = slides[0].result.classes
    for first in range(0, len(classes), _CLASSES):
        part = range(first, min(first + _CLASSES, len(classes)))
        rows = [[Cell(found.result.name), *(Cell(_share(found, index)) for index in part)] for found in slides]
        width = 0.72 / len(part)
        head = ("Share of the tissue", *(classes[index].name for index in part))
        yield PageTable(head, rows, (0.28, *[width] * len(part)))


def _share(found: Findings, index: int) -> str:
    item, tissue = found.result.classes[index], found.result.tissue_mm2
    if item.share is None or found.intervals is None or not tissue:
        return percent(item.share)
    low, high = (100 * min(1.0, end / tissue) for end in found.intervals[index])
    return f"{100 * item.share:.1f}\u00a0% ({low:.0f}\u2013{high:.0f})"


def _left_out(slides: Sequence[Findings], failed: Mapping[str, str]) -> Iterator[Block]:
    by_cause: dict[tuple[str, str], list[float]] = {}
    for found in slides:
        for item in found.left_out:
            by_cause.setdefault((item.what, item.why), []).append(item.area_mm2 or 0.0)
    rows = [
        [Cell(what), Cell(f"{len(areas)}"), Cell(mm2(sum(areas)) if any(areas) else NONE), Cell(why)]
        for (what, why), areas in by_cause.items()
    ]
    if rows:
        yield PageTable(("What", "Slides", "Area", "Why"), rows, (0.26, 0.08, 0.16, 0.5), numbers=False)
    elif not failed:
        yield Text("Nothing but glass: no pen, no folds of the tissue, and no tissue out of focus were found.")
    if failed:
        cells = [[Cell(name), Cell(why)] for name, why in failed.items()]
        yield PageTable(("Slides without findings", "Why"), cells, (0.3, 0.7), numbers=False)
