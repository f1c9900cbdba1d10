"""What can be said to `wsss-mm cohort`: the actions and their options."""

import argparse
from typing import Any

from wsss_mm.vocabulary import SPLITS


def add_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of slides to add."""
    adding = actions.add_parser(
        name,
        help="add slides",
        description="Open slides and add a row for each. Of a folder all slides are taken; other files there are named "
        "and passed over. Unless told, whose a slide is and where it was made is known of TCGA barcodes alone, and "
        "any other slide counts as one patient's only one.",
        epilog="examples: wsss-mm cohort add scans/S1.svs --patient P1 --site Ulm; wsss-mm cohort add scans --pattern "
        "'{patient}_{slide}_{site}.svs' --dry-run; wsss-mm cohort add archive --pattern '(?P<patient>P\\d+)-.*'",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    adding.add_argument("slides", nargs="+", metavar="SLIDE", help="slide that OpenSlide opens, folder, or 'a*.svs'")
    adding.add_argument("--slide-id", metavar="ID", help="name of the slide, of one; else that of its file")
    adding.add_argument("--patient", metavar="ID", help="whose the slides are")
    adding.add_argument("--site", help="where they were made")
    adding.add_argument("--split", choices=SPLITS, help="where they count; or see cohort split")
    adding.add_argument(
        "--pattern",
        help="of file names, to take these from: {slide}, {patient}, {site}, {split}, and * for anything; or a regular "
        "expression with groups of these names. With a / in it of the folders above, too. It is shown what it gives",
    )
    adding.add_argument("--mpp", type=_number, help="um/px at level 0, for slides that do not say; 0.1 to 4")
    adding.add_argument("--force-mpp", action="store_true", help="--mpp is for slides that say otherwise, too")
    for drawn, what in (("roi", "only what is inside counts"), ("annotation", "polygons with class names, the truth")):
        adding.add_argument(
            f"--{drawn}", metavar="GEOJSON", help=f"of QuPath: {what}; for many slides with {{slide}} in its name"
        )
    adding.add_argument("--dry-run", action="store_true", help="look at everything, and write nothing")
    adding.add_argument("--yes", action="store_true", help="take what the pattern gives without asking")
    return adding


def list_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of the list."""
    listing = actions.add_parser(
        name,
        help="what slides there are",
        description="List the slides, with what their files say. Slides that did not change are not opened again.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    listing.add_argument("--json", action="store_true", help="as JSON: a list with an object for each slide")
    return listing


def split_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of dividing the patients."""
    splitting = actions.add_parser(
        name,
        help="divide the patients into train, valid and test",
        description="Give a split to the patients that have none: each split gets its share of every site and, where "
        "labels or outlines are there, of every class. A patient comes into one split and keeps it when slides are "
        "added. Where some patients have outlines, those fill valid and test, which are judged by them.",
        epilog="examples: wsss-mm cohort split; wsss-mm cohort split --hold-out-site Ulm --as test --again",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    splitting.add_argument("--valid", type=_number, default=0.2, help="share of the patients")
    splitting.add_argument("--test", type=_number, default=0.2, help="share of the patients")
    splitting.add_argument("--seed", type=int, help="of the choice; else seed of params.yaml")
    splitting.add_argument(
        "--hold-out-site",
        action="append",
        default=[],
        metavar="SITE",
        help="all its patients, and no others, come into the split of --as; repeatable",
    )
    splitting.add_argument("--as", dest="held_as", choices=SPLITS, default="test", help="the split of sites held out")
    splitting.add_argument("--again", action="store_true", help="decide the splits that slides have anew, too")
    splitting.add_argument("--dry-run", action="store_true", help="show it, and write nothing")
    splitting.add_argument("--yes", action="store_true", help="do not ask before splits that were given change")
    return splitting


def check_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of what is looked at."""
    checking = actions.add_parser(
        name,
        help="what stage and gate cohort would object to",
        description="Look at the table and at each slide as stage and gate cohort do: a line for each slide. Exits 1 "
        "where something is wrong.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    checking.add_argument("--quick", action="store_true", help="open the slides, but do not look at their pixels")
    return checking


def set_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of what is changed."""
    setting = actions.add_parser(
        name,
        help="change what is known of slides",
        description="Change cells of slides; '' empties one. A split is that of the patient: all slides of it move.",
        epilog="example: wsss-mm cohort set S1 S2 --site Ulm",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    setting.add_argument("ids", nargs="+", metavar="ID", help="slide_id")
    setting.add_argument("--patient", metavar="ID", help="whose they are")
    setting.add_argument("--site", help="where they were made")
    setting.add_argument("--split", choices=(*SPLITS, ""), metavar="SPLIT", help="train, valid or test")
    setting.add_argument("--mpp", help="um/px at level 0; '' for what the file says")
    for file in ("path", "roi", "annotation"):
        setting.add_argument(f"--{file}", metavar="FILE", help="another file; of many slides with {slide} in its name")
    return setting


def remove_parser(actions: Any, name: str) -> argparse.ArgumentParser:
    """Options of what is taken out."""
    removing = actions.add_parser(
        name,
        help="take slides out of the table",
        description="Take rows out of the table; the files of the slides stay.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    removing.add_argument("ids", nargs="+", metavar="ID", help="slide_id")
    return removing


def _number(text: str) -> float:
    from wsss_mm.tables import number

    value = number(text.strip())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, such as 0.25")
    return value
