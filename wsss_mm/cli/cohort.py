"""`wsss-mm cohort`: the table of a user's own slides, kept by command."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli import cohort_options as options
from wsss_mm.cli.own_slides import known_labels, meant_table, next_steps, own_params
from wsss_mm.errors import InputError
from wsss_mm.vocabulary import SPLITS

if TYPE_CHECKING:
    from wsss_mm.cohort.adding import Looked, NewSlide
    from wsss_mm.cohort.assign import SlideFacts

_SHOWN = 20  # rows of a long list
_SEEN = places.WORK / "cohort/listed.json"
_OWN = f"cohort.source of params.yaml where cohort.name is slides, else {places.OWN_SLIDES}"


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser(
        "cohort",
        help="your own slides: which there are, whose, and in which split",
        description="Keep slides.csv, the table of your own slides. Slides stay where they are. The table stays yours: "
        "columns, notes and order that it has are kept, and a spreadsheet can change it as well.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, (build, handler) in _ACTIONS.items():
        build(actions, name).set_defaults(handler=handler)
    for action in actions.choices.values():
        action.add_argument("--table", type=Path, metavar="CSV", help=f"the table, or its folder; else {_OWN}")


def _add(arguments: argparse.Namespace) -> int:
    from wsss_mm.cohort.adding import GivenCells, named_slides, open_slides
    from wsss_mm.cohort.editing import add_slides
    from wsss_mm.cohort.finding import find_slide_files
    from wsss_mm.cohort.naming import NamePattern

    _check_mpp(arguments)
    table = meant_table(arguments.table)
    cells = {"slide_id": arguments.slide_id, "patient_id": arguments.patient}
    cells |= {"site": arguments.site, "split": arguments.split}
    given = GivenCells(
        {column: cell.strip() for column, cell in cells.items() if cell},
        None if arguments.pattern is None else NamePattern(arguments.pattern),
        arguments.mpp,
        arguments.force_mpp,
        {name: value for name in ("roi", "annotation") if (value := getattr(arguments, name))},
    )
    slides = named_slides(find_slide_files(arguments.slides), given)
    if given.pattern or arguments.dry_run:
        _show_named(slides, whole=arguments.dry_run)
    if given.pattern and not arguments.dry_run:
        _ask(arguments.yes, "take this from the names?")
    looked = open_slides(slides, given)
    _tell_of_others(looked)
    if not looked.slides and not looked.failed:
        raise InputError(f"{', '.join(arguments.slides)}: no slide; name files that OpenSlide opens")
    added = add_slides(table, looked.slides, dry=arguments.dry_run)
    _tell_of_added(table, added, len(looked.slides), arguments.dry_run)
    return 1 if looked.failed else 0


def _show_named(slides: Sequence["NewSlide"], *, whole: bool) -> None:
    from wsss_mm.cohort.overview import aligned

    columns = ("slide_id", "patient_id", "site", "split")
    rows = [("file", *columns), *((slide.path.name, *(slide.cells[name] for name in columns)) for slide in slides)]
    shown = rows if whole else rows[: _SHOWN + 1]
    more = f"\n... and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
    counts = (f"{len({s.cells[name] for s in slides if s.cells[name]})} {what}" for name, what in _COUNTED.items())
    sys.stdout.write(f"{aligned(shown)}{more}\n{len(slides)} files, {', '.join(counts)}\n")


_COUNTED = {"patient_id": "patients", "site": "sites", "split": "splits"}


def _tell_of_others(looked: "Looked") -> None:
    if looked.others:
        names = ", ".join(path.as_posix() for path in looked.others[:_SHOWN])
        more = f" and {len(looked.others) - _SHOWN} more" if len(looked.others) > _SHOWN else ""
        sys.stderr.write(f"no slides, passed over: {names}{more}\n")
    for path, why in looked.failed:
        sys.stderr.write(f"not added: {path}: {why}\n")


def _tell_of_added(table: Path, added: Sequence["NewSlide"], given: int, dry: bool) -> None:
    there = f", {given - len(added)} there already" if len(added) < given else ""
    sys.stdout.write(f"{table}: {len(added)} slides {'would be ' if dry else ''}added{there}\n")
    alone = [slide.cells["slide_id"] for slide in added if slide.only_of_patient]
    if alone:
        sys.stderr.write(
            f"nothing says whose {len(alone)} of them are, such as {alone[0]}: each counts as a patient of its own. If "
            "some are of one patient, say so with --patient or --pattern, or wsss-mm cohort set ID --patient ID: "
            "slides of one patient in two splits make results too good\n"
        )
    if not dry:
        sys.stdout.write(next_steps(table))


def _list(arguments: argparse.Namespace) -> None:
    from wsss_mm.cohort.editing import read_slide_rows
    from wsss_mm.cohort.overview import aligned, describe_slides

    table = meant_table(arguments.table)
    labels, _ = known_labels(table)
    slides = describe_slides(
        read_slide_rows(table), table, labels, _SEEN if Path(places.PARAMS_FILE).is_file() else None
    )
    if arguments.json:
        sys.stdout.write(json.dumps(slides, indent=2, ensure_ascii=True) + "\n")
        return
    rows = [["slide", "patient", "site", "split", "mpp", "size", "magn.", "labels", ""]]
    for slide in slides:
        known = slide["size"] is not None
        rows.append(
            [
                *(slide[name] or "-" for name in ("slide_id", "patient_id", "site", "split")),
                f"{slide['mpp']:.4g}" if known else "?",
                "{} x {}".format(*slide["size"]) if known else "?",
                f"{slide['magnification']:g}x" if known else "?",
                str(slide["labels"]),
                slide["problem"] or "",
            ]
        )
    splits = ", ".join(
        f"{sum(s['split'] == split for s in slides)} {split or 'without a split'}" for split in _there(slides)
    )
    text = aligned(rows, right=(4, 5, 6, 7)) if slides else "no slide"
    sys.stdout.write(f"{text}\n{table}: {len(slides)} slides{f' ({splits})' if slides else ''}\n")


def _there(slides: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {slide["split"] for slide in slides}
    return [*(split for split in SPLITS if split in found), *sorted(found - set(SPLITS))]


def _split(arguments: argparse.Namespace) -> None:
    from dataclasses import replace

    from wsss_mm.cohort.assign import SplitPlan, divide, split_doubts
    from wsss_mm.cohort.editing import read_slide_rows, write_splits
    from wsss_mm.cohort.overview import facts_of

    table, params = meant_table(arguments.table), own_params()
    rows = read_slide_rows(table)
    before = facts_of(rows, table, *known_labels(table))
    seed = arguments.seed if arguments.seed is not None else params.seed if params else 0
    sites = dict.fromkeys(arguments.hold_out_site, arguments.held_as)
    splits = divide(before, SplitPlan(arguments.valid, arguments.test, seed, sites, arguments.again))
    after = [replace(slide, split=splits[slide.slide_id]) for slide in before]
    _show_splits(before, after)
    for doubt in split_doubts(after, arguments.hold_out_site):
        sys.stderr.write(f"warning: {doubt}\n")
    moved = [slide.slide_id for slide in before if slide.split not in ("", splits[slide.slide_id])]
    if arguments.dry_run:
        return
    if moved:
        _ask(
            arguments.yes,
            f"{len(moved)} slides change the split they have; what was measured on it is of no use. Go on?",
        )
    write_splits(table, splits, rows)
    new = sum(not slide.split for slide in before)
    sys.stdout.write(f"{table}: {new} slides got a split, {len(moved)} changed it\n{next_steps(table)}")


def _show_splits(before: Sequence["SlideFacts"], after: Sequence["SlideFacts"]) -> None:
    from wsss_mm.cohort.assign import split_counts
    from wsss_mm.cohort.overview import aligned

    for title, slides in (("before", before), ("after", after)):
        table = split_counts(slides)
        table[0][0] = title
        sys.stdout.write(aligned(table, right=range(1, len(table[0]))) + "\n")


def _check(arguments: argparse.Namespace) -> int:
    from wsss_mm.cohort.overview import aligned
    from wsss_mm.gates.beforehand import check_cohort
    from wsss_mm.settings import load_profile

    table = meant_table(arguments.table)
    found = check_cohort(table, own_params() or load_profile("slides"), places.QUARANTINE, quick=arguments.quick)
    rows = [
        (slide_id, "; ".join(said) or ("set aside" if slide_id in found.aside else "good"))
        for slide_id, said in found.slides.items()
    ]
    sys.stdout.write(aligned(rows) + "\n")
    for said in found.table:
        sys.stdout.write(f"{table}: {said}\n")
    bad = sum(bool(said) for said in found.slides.values())
    more = f", {len(found.table)} of the table" if found.table else ""
    sys.stdout.write(f"{table}: {len(rows)} slides, objections to {bad}{more}\n")
    if not found.any:
        sys.stdout.write(next_steps(table, checked=True))
    return 1 if found.any else 0


def _set(arguments: argparse.Namespace) -> None:
    from wsss_mm.cohort.editing import cell_of_path, change_slides

    table = meant_table(arguments.table)
    cells = {"patient_id": arguments.patient, "site": arguments.site, "split": arguments.split, "mpp": arguments.mpp}
    cells |= {name: getattr(arguments, name) for name in ("path", "roi", "annotation")}
    given = {column: cell.strip() for column, cell in cells.items() if cell is not None}
    if not given:
        raise InputError(
            "cohort set: nothing to set; give --patient, --site, --split, --mpp, --path, --roi or --annotation"
        )
    files = {name: given.pop(name) for name in ("path", "roi", "annotation") if name in given}
    for name, value in files.items():
        if len(arguments.ids) > 1 and value and "{slide}" not in value:
            raise InputError(
                f"--{name} {value}: a file belongs to one slide, but {len(arguments.ids)} are named; "
                f"write {{slide}} for the slide_id, such as drawn/{{slide}}.geojson"
            )
    cells = {}
    for slide_id in arguments.ids:
        own = {name: value.replace("{slide}", slide_id) for name, value in files.items()}
        _check_set(table, slide_id, given | own)
        cells[slide_id] = {name: value and cell_of_path(table, Path(value)) for name, value in own.items()}
    changed = change_slides(table, arguments.ids, given, cells)
    sys.stdout.write(f"{table}: changed {', '.join(changed) or 'nothing'}\n")


def _check_set(table: Path, slide_id: str, given: Mapping[str, str]) -> None:
    """Open the slide with what is to be set, where that matters."""
    from wsss_mm.cohort.editing import look_at_change

    if given.keys() & {"path", "roi", "annotation", "mpp"}:
        look_at_change(table, slide_id, given)


def _remove(arguments: argparse.Namespace) -> None:
    from wsss_mm.cohort.editing import remove_slides

    table = meant_table(arguments.table)
    labels, _ = known_labels(table)
    remove_slides(table, arguments.ids)
    sys.stdout.write(f"{table}: {len(set(arguments.ids))} slides removed; their files stay\n")
    for slide_id in arguments.ids:
        if slide_id in labels:
            count = labels[slide_id].patches
            journals = any(places.LABELS_FOLDER.glob(f"*{places.JOURNAL_SUFFIX}"))
            then = "are not used meanwhile" if journals else "stage patches refuses labels of no slide"
            sys.stderr.write(f"{slide_id}: {count} labels of it stay; {then}\n")


def _ask(yes: bool, question: str) -> None:
    """Go on if somebody says so.

    Raises:
        InputError: nobody does.
    """
    if yes:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise InputError(f"{question} nobody is here to ask: look at it with --dry-run, then add --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was changed")


def _check_mpp(arguments: argparse.Namespace) -> None:
    from wsss_mm.slides.resolution import MICROSCOPES, is_microscopes

    if arguments.mpp is not None and not is_microscopes(arguments.mpp):
        low, high = MICROSCOPES
        raise InputError(f"--mpp {arguments.mpp:g}: no slide has that; give um per pixel, {low:g} to {high:g}")
    if arguments.force_mpp and arguments.mpp is None:
        raise InputError("--force-mpp: there is no --mpp to force; give one, or leave it out")


_ACTIONS = {
    "add": (options.add_parser, _add),
    "list": (options.list_parser, _list),
    "split": (options.split_parser, _split),
    "check": (options.check_parser, _check),
    "set": (options.set_parser, _set),
    "remove": (options.remove_parser, _remove),
}
