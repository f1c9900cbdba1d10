"""What stands on the page of a slide, and the sentences that all pages share."""

from collections.abc import Iterator, Sequence

from wsss_mm.evaluation.areas import COVERAGE
from wsss_mm.findings.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Facts,
    Gallery,
    Heading,
    PageTable,
    Shot,
    Signature,
    Text,
)
from wsss_mm.findings.program import Program
from wsss_mm.findings.slide import Findings, Interval, LeftOut
from wsss_mm.findings.survey import FIELD
from wsss_mm.wsi.viewer.results import Result

NONE = "\u2013"
RESEARCH = "Research use only: not a medical device, and no diagnosis."
UNMEASURED = (
    "How certain the program was of each place was not recorded for {what}, so there are no intervals, and no most and "
    "least certain places. To have both, ask whoever ran the analysis to repeat it with certainty switched on; "
    "the tissues stay the same."
)
UNVALIDATED = (
    "There are no intervals of the areas: how far they may be off is not known of the program that drew these maps."
)

_SHOTS = 4  # side by side


def slide_document(found: Findings, overlay: Shot, shots: Sequence[Shot], why_no_shots: str = "") -> Document:
    """The page of a slide.

    Args:
        found: what is known of it.
        overlay: its picture.
        shots: its fields, in the order of its places.
        why_no_shots: where there are none.
    """
    return Document(
        f"Tissues on slide {found.result.name}",
        RESEARCH,
        tuple(_blocks(found, overlay, shots, why_no_shots)),
    )


def _blocks(found: Findings, overlay: Shot, shots: Sequence[Shot], why_no_shots: str) -> Iterator[Block]:
    result = found.result
    yield Facts(
        [
            ("Patient", found.asked.patient or NONE),
            ("Site", found.asked.site or NONE),
            ("Slide file", result.slide_file),
            ("Resolution", f"{result.slide_mpp:.4g} \u00b5m per pixel; tissues drawn at {result.mpp:.4g}"),
            ("Tissue", mm2(result.tissue_mm2)),
            ("Tumour-stroma ratio", ratio_text(result.tumour_stroma_ratio, found.ratio)),
        ]
    )
    if found.unlike:
        yield Text(
            f"This slide does not look like those the program learnt from: {found.unlike}. Its areas may mean nothing; "
            "look at the slide before you use them.",
            "alarm",
        )
    if not result.tissue_mm2:
        yield Text("No tissue was found on this slide.", "alarm")
    yield Gallery([overlay], 1)
    yield Heading("Areas")
    yield _areas(found)
    yield from why_no_intervals(result.certain, found.program, "this slide")
    if found.intervals is not None:
        yield Text(meaning(found.program), "small")
    yield Heading("Left out, and why")
    yield from left_out_blocks(found.left_out)
    if result.tissue_mm2:
        yield Heading("Where the program was most and least certain" if result.certain else "Fields of each tissue")
        if shots:
            yield Gallery(shots, _SHOTS)
            yield Text(
                f"Each field is {FIELD:.0f} \u00b5m wide; the line surrounds the tissue it is shown for.", "small"
            )
        else:
            yield Text(why_no_shots or "There are no fields to show.")
    yield from closing(found.program, [result], certain=result.certain)


def _areas(found: Findings) -> PageTable:
    result = found.result
    head = ["Tissue", "Area,\u00a0mm\u00b2", f"{100 * COVERAGE:.0f}\u00a0% interval,\u00a0mm\u00b2", "Share"]
    widths = [0.4, 0.18, 0.27, 0.15]
    if result.certain:
        head, widths = [*head, "Certainty"], [0.36, 0.16, 0.24, 0.12, 0.12]
    rows = []
    for index, item in enumerate(result.classes):
        interval = None if found.intervals is None else found.intervals[index]
        row = [
            Cell(item.name, item.color),
            Cell(f"{item.area_mm2:.3f}"),
            Cell(span(interval)),
            Cell(percent(item.share)),
        ]
        rows.append([*row, Cell(percent(item.confidence))] if result.certain else row)
    return PageTable(head, rows, widths)


def why_no_intervals(certain: bool, program: Program | None, what: str) -> Iterator[Block]:
    """A line where areas have no interval."""
    if not certain:
        yield Text(UNMEASURED.format(what=what))
    elif program is None or program.errors is None:
        yield Text(UNVALIDATED)


def meaning(program: Program | None) -> str:
    """What an interval says."""
    errors = None if program is None else program.errors
    if errors is None:
        return ""
    return (
        f"The interval holds what the true area may be, {100 * COVERAGE:.0f} times of 100, on slides like those the "
        f"program was tried on. It follows from how certain the program was here, and how often it was right when it "
        f"was as certain of the same tissue on {errors.patches:,} outlined fields of {errors.patients} other patients. "
        "It knows of tissues taken for one another; not of tissue taken for glass, nor of tissues that have no name "
        "here. The ratio's interval is the least tumour over the most stroma, and the other way round. Certainty is "
        "how much likelier the program held the tissue to be than the next one."
    )


def left_out_blocks(items: Sequence[LeftOut]) -> Iterator[Block]:
    """A table of what was left out, or a line that nothing was."""
    if not items:
        yield Text("Nothing but glass: no pen, no folds of the tissue, and no tissue out of focus were found.")
        return
    rows = [
        [Cell(item.what), Cell(NONE if item.area_mm2 is None else mm2(item.area_mm2)), Cell(item.why)] for item in items
    ]
    yield PageTable(("What", "Area", "Why"), rows, (0.3, 0.16, 0.54), numbers=False)


def closing(program: Program | None, results: Sequence[Result], *, certain: bool) -> Iterator[Block]:
    """What drew the map, what it cannot do, and room for a signature."""
    yield Heading("What drew the map")
    if program is None:
        yield Text("Nothing is known here of the program that drew the map.")
    else:
        yield Text(" ".join(program.sentences))
    yield Heading("Limits")
    names = ", ".join(item.name for item in results[0].classes) if results else ""
    limits = [
        "For research: no diagnosis and no treatment may depend on these figures.",
        f"The program knows no other tissues than these: {names}. Whatever else is on a slide gets one of their names.",
        "Organs, stains, scanners and preparations other than those it was tried on need a trial of their own.",
        "Areas are those of the section as scanned; they say nothing of the rest of the block.",
    ]
    if certain:
        limits.append("The program can be certain and wrong: certainty is no proof.")
    yield Bullets(limits)
    yield Heading("Seen by")
    yield Signature()
    yield Text(f"Program: {'; '.join(sorted({item.model for item in results}))}", "small")


def mm2(area: float) -> str:
    """An area, as people write it."""
    return f"{area:.3f}\u00a0mm\u00b2" if area < 100 else f"{area:,.1f}\u00a0mm\u00b2"


def percent(share: float | None) -> str:
    """A share, or a dash."""
    return NONE if share is None else f"{100 * share:.1f}\u00a0%"


def span(interval: Interval | None) -> str:
    """An interval, or a dash."""
    if interval is None:
        return NONE
    return f"{interval[0]:.3f} to {'any' if interval[1] is None else f'{interval[1]:.3f}'}"


def ratio_text(ratio: float | None, interval: Interval | None) -> str:
    """A tumour-stroma ratio with its interval, if there is one."""
    if ratio is None:
        return "none: too little of tumour or stroma, or no such tissue"
    if interval is None:
        return f"{ratio:.2f}"
    upper = "any more" if interval[1] is None else f"{interval[1]:.2f}"
    return f"{ratio:.2f} ({interval[0]:.2f} to {upper})"
