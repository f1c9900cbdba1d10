"""`wsss-mm labels`: what readers said of patches, how far they agree, and labels from and for other tools."""

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli.labels_read import (
    agreement,
    check,
    counted,
    current_params,
    read_known_journals,
    vocabulary_of,
    wanted,
)
from wsss_mm.errors import InputError
from wsss_mm.names import composed

if TYPE_CHECKING:
    from wsss_mm.cohort import Slide
    from wsss_mm.labelling.exchange import PatchLabels
    from wsss_mm.labelling.exchange.coco import Ground
    from wsss_mm.labelling.exchange.qupath import Frame
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

_TABLE, _QUPATH, _TASKS, _COCO = "csv", "qupath", "label-studio", "coco"
_FORMATS = (_TABLE, _QUPATH, _TASKS, _COCO)
_OF_SUFFIX = {".csv": _TABLE, ".tsv": _TABLE, ".txt": _TABLE, ".geojson": _QUPATH, ".json": _TASKS}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser(
        "labels",
        help="what readers said of patches: check, agreement, import, export",
        description="What readers said of patches, in the journals labels/<reader>.jsonl. `dvc repro` makes "
        "data/labels.csv of them.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    defaults = argparse.ArgumentDefaultsHelpFormatter
    checking = actions.add_parser(
        "check",
        help="read all journals, count, and say what is left to settle",
        description="Read all journals: what each reader said of each class, and patches that readers differ in.",
        formatter_class=defaults,
    )
    agreeing = actions.add_parser(
        "agreement",
        help="Cohen's kappa of each class, between readers and of each with himself",
        description="Cohen's kappa of each class with its 95 %% interval, between every two readers and, on patches "
        "that came twice, of each with himself. Patches that one of the two was unsure of are counted apart.",
        formatter_class=defaults,
    )
    agreeing.add_argument("--random", action="store_true", help="only patches that were drawn at random")
    importing = actions.add_parser(
        "import",
        help="take labels into a journal: labels.csv, QuPath GeoJSON of tiles, Label Studio JSON; masks of COCO",
        description="Take labels into a reader's journal, or masks of COCO into what is drawn on slides. What is there "
        "already is left out, so that a file may be imported again. Example: wsss-mm labels import --reader ann "
        "data/labels.csv",
        formatter_class=defaults,
    )
    importing.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of QuPath, <slide_id>.geojson")
    importing.add_argument("--reader", help="whose labels they are; masks are nobody's")
    importing.add_argument("--annotator", help="of Label Studio: whose annotations to take, id or e-mail")
    exporting = actions.add_parser(
        "export",
        help="labels for other tools: labels.csv, QuPath GeoJSON of tiles, Label Studio JSON; masks as COCO",
        description="Write what counts of all readers' labels, or what one reader said; as COCO, what is drawn on "
        "slides. Example: wsss-mm labels export --format qupath tiles",
        formatter_class=defaults,
    )
    exporting.add_argument("out", type=Path, metavar="OUT", help="the file; of QuPath, a folder for <slide_id>.geojson")
    exporting.add_argument("--reader", help="what this reader said; without, what counts of all")
    exporting.add_argument("--images", default="", help="of Label Studio: what stands before a picture's name")
    exporting.add_argument(
        "--patches", action="store_true", help="of COCO: the patches' masks, not the slides' outlines"
    )
    wanting = actions.add_parser(
        "wanted",
        help="20 patches to label where labels cannot tell two classes apart",
        description="Where nearly every training patch with a class holds a certain other one, too, labels cannot tell "
        "the two apart. Write the candidates that most likely hold one without the other, by the classifier's scores. "
        "Label them with: wsss-mm label --queue FILE",
        formatter_class=defaults,
    )
    wanting.add_argument("--out", type=Path, default=places.WANTED, help="table to write")
    wanting.set_defaults(handler=wanted)
    for action in (importing, exporting):
        action.add_argument("--format", choices=_FORMATS, help="if the file's name does not tell", default=None)
    for action, handler in ((checking, check), (agreeing, agreement), (importing, _import), (exporting, _export)):
        action.add_argument("--journals", type=Path, default=places.LABELS_FOLDER, help="folder of the journals")
        action.set_defaults(handler=handler)


def _import(arguments: argparse.Namespace) -> None:
    from wsss_mm.labelling.exchange import journal_entries
    from wsss_mm.labelling.journal import Journal, journal_path, read_journals

    params = current_params()
    if arguments.format == _COCO:
        _import_masks(arguments, params)
        return
    if arguments.reader is None:
        raise InputError("whose labels are these? give --reader NAME")
    journal = Journal(journal_path(arguments.reader, arguments.journals), arguments.reader)
    read = [(file, _read(file, arguments, params)) for file in arguments.files]  # all of them, before one is kept
    for file, said in read:
        current = read_journals(arguments.journals).answers(arguments.reader)
        entries, counts = journal_entries(said, current, file.name)
        journal.append(entries)
        sys.stdout.write(f"{file}: " + ", ".join(f"{count} {what}" for what, count in counts.items()) + "\n")
    sys.stdout.write(f"in {journal.path}; git add it, then: dvc repro\n")


def _export(arguments: argparse.Namespace) -> None:
    from wsss_mm.labelling.exchange import said_by, said_of_all
    from wsss_mm.labelling.exchange.label_studio import write_tasks
    from wsss_mm.labelling.exchange.qupath import SUFFIX, write_tiles
    from wsss_mm.labelling.exchange.table import write_label_table
    from wsss_mm.labelling.settled import settle_labels

    if arguments.format == _COCO:
        _export_masks(arguments)
        return
    journals, vocabulary = read_known_journals(arguments.journals), vocabulary_of(current_params())
    said = said_of_all(settle_labels(journals)) if arguments.reader is None else said_by(journals, arguments.reader)
    kind, out = _kind(arguments.out, arguments.format, _QUPATH if not arguments.out.suffix else None), arguments.out
    if kind == _TABLE:
        write_label_table(out, said, vocabulary)
    elif kind == _TASKS:
        write_tasks(out, said, vocabulary, arguments.images)
    else:
        slides = list(dict.fromkeys(item.place.slide for item in said))
        frames = {slide: _frame(_slide(slide)) for slide in slides}  # all of them, before a file is written
        for slide in slides:
            tiles = [item for item in said if item.place.slide == slide]
            write_tiles(out / f"{slide}{SUFFIX}", tiles, frames[slide], vocabulary)
    sys.stdout.write(f"{out}: {counted(len(said), 'patch')}\n")


def _import_masks(arguments: argparse.Namespace, params: "Params") -> None:
    """Take masks of COCO into the drawings of slides."""
    from uuid import uuid4

    from wsss_mm.labelling.drawings import drawing_path, names_of, read_drawing, write_drawing
    from wsss_mm.labelling.exchange.coco import merged, read_coco

    vocabulary, patches = vocabulary_of(params), params.patches
    grounds = _Grounds()
    read = [
        (file, read_coco(file, vocabulary, grounds, mpp=patches.mpp, size=patches.size)) for file in arguments.files
    ]
    for file, found in read:
        total: dict[str, int] = {}
        for slide_id, given in found.items():
            path = drawing_path("masks", slide_id, arguments.journals)
            before = read_drawing(path, slide_id)
            areas, counts = merged(before.areas, given)
            if counts["new"] or counts["changed"]:
                colors = names_of("masks", vocabulary)
                write_drawing(path, slide_id, areas, edit=before.edit, request=uuid4().hex, colors=colors)
            total = {what: total.get(what, 0) + count for what, count in counts.items()}
        said = ", ".join(f"{count} {what}" for what, count in total.items()) or "no area"
        sys.stdout.write(f"{file}: {said}, on {counted(len(found), 'slide')}\n")
    sys.stdout.write(f"in {arguments.journals / places.MASKS.name}; git add it, then: dvc repro\n")


def _export_masks(arguments: argparse.Namespace) -> None:
    """Write what is drawn on slides, or the masks of patches, as COCO."""
    from wsss_mm.cohort import Cohort
    from wsss_mm.labelling.drawings import drawing_path, read_drawing
    from wsss_mm.labelling.exchange.coco import coco_picture, picture_of_mask, write_coco
    from wsss_mm.patches import read_manifest
    from wsss_mm.patches.images import read_label_map
    from wsss_mm.patches.shards import name_outside

    vocabulary = vocabulary_of(current_params())
    if arguments.reader is not None:
        raise InputError(f"--reader {arguments.reader}: masks are nobody's; leave it out")
    if arguments.patches:
        rows = read_manifest(places.PATCHES, vocabulary).dropna(subset="mask_path")
        masks = zip(rows["path"], rows["mask_path"], strict=True)
        pictures = [
            picture_of_mask(name_outside(path), read_label_map(places.PATCHES / mask), vocabulary)
            for path, mask in masks
        ]
    else:
        grounds, pictures = _Grounds(), []
        for slide in Cohort.read().with_files():
            drawn = read_drawing(drawing_path("masks", slide.slide_id, arguments.journals), slide.slide_id).areas
            if drawn and slide.path is not None and (ground := grounds(slide.slide_id)) is not None:
                pictures.append(coco_picture(f"{slide.slide_id}{slide.path.suffix}", ground, drawn))
    if not pictures:
        what = f"{places.PATCHES}: no patch has a mask" if arguments.patches else f"{arguments.journals}: no drawings"
        raise InputError(f"{what}; draw in view Draw of wsss-mm label, or name an annotation in the table of slides")
    count = write_coco(arguments.out, pictures, vocabulary)
    what = "patch" if arguments.patches else "slide"
    sys.stdout.write(f"{arguments.out}: {counted(count, 'area')} on {counted(len(pictures), what)}\n")


class _Grounds:
    """Slides of the cohort as masks count on them, each opened once."""

    def __init__(self) -> None:
        from wsss_mm.cohort import Cohort

        self._slides: dict[str, Slide] = {slide.slide_id: slide for slide in Cohort.read().with_files()}
        self._known: dict[str, Any] = {}

    def __call__(self, name: str) -> "Ground | None":
        """A slide, by slide_id or the name of its file; None where there is none."""
        from wsss_mm.labelling.exchange.coco import Ground

        slide = _called(self._slides, name)
        if slide is None:
            return None
        if slide.slide_id not in self._known:
            with slide.open() as reader:
                left, top, width, height = map(int, reader.bounds)
                self._known[slide.slide_id] = Ground((left, top), (width, height), reader.mpp, slide.slide_id)
        return self._known[slide.slide_id]


def _read(file: Path, arguments: argparse.Namespace, params: "Params") -> "list[PatchLabels]":
    from wsss_mm.labelling.exchange.label_studio import read_tasks
    from wsss_mm.labelling.exchange.qupath import read_tiles
    from wsss_mm.labelling.exchange.table import read_said

    vocabulary, mpp, size = vocabulary_of(params), params.patches.mpp, params.patches.size
    kind = _kind(file, arguments.format)
    if kind == _TASKS:
        return read_tasks(file, vocabulary, mpp=mpp, size=size, annotator=arguments.annotator)
    if kind == _QUPATH:
        slide = _slide(file.stem)
        return read_tiles(file, slide.slide_id, _frame(slide), vocabulary, mpp=mpp, size=size)
    made_here = file.resolve() == places.LABELS.resolve()
    return read_said(file, vocabulary, mpp=mpp, size=size, by_hand=made_here)


def _kind(file: Path, given: str | None, otherwise: str | None = None) -> str:
    kind = given or _OF_SUFFIX.get(file.suffix.lower(), otherwise)
    if kind is None:
        raise InputError(f"{file}: its name does not tell the format; give --format {', '.join(_FORMATS)}")
    return kind


def _slide(name: str) -> "Slide":
    """The slide of the cohort that somebody calls so."""
    from wsss_mm.cohort import TABLE, Cohort

    slide = _called({item.slide_id: item for item in Cohort.read(TABLE)}, name)
    if slide is None:
        raise InputError(f"{TABLE}: has no slide {name!r}; add it, or name the file <slide_id>.geojson")
    return slide


def _called(slides: Mapping[str, "Slide"], name: str) -> "Slide | None":
    """The slide with this slide_id, or else the only one whose file is called so: other tools know files alone.

    A slide_id is ASCII, and a file's name need not be; accents are compared however a system composes them.
    """
    if name in slides:
        return slides[name]
    stems = [slide for slide in slides.values() if slide.path and composed(slide.path.stem) == composed(name)]
    return stems[0] if len(stems) == 1 else None


def _frame(slide: "Slide") -> "Frame":
    """How QuPath counts on a slide of the cohort."""
    from wsss_mm.labelling.exchange.qupath import Frame

    with slide.open() as reader:
        left, top, _, _ = reader.bounds
        return Frame((int(left), int(top)), reader.mpp)
