"""`wsss-mm import`: say what a data set's folder holds, and set the line up for it."""

import argparse
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli.profile import look_each_time
from wsss_mm.errors import InputError, spelled_out

if TYPE_CHECKING:
    from wsss_mm.patches.recognising import Recognised

_EXAMPLES = """\
examples:
  wsss-mm import --describe data/raw/BCSS
  wsss-mm import data/raw/BCSS
  wsss-mm import tiles --as folders --vocabulary skin --mpp 0.5
"""


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "import",
        help="describe a data set of patches or regions, and set the line up for it",
        description="Say what the folder of a data set holds, and write params.yaml and gates.yaml for it. The data "
        "sets that are known are rows of sources.yaml.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the data set's folder")
    parser.add_argument("--describe", action="store_true", help="only say what is there; nothing is written")
    parser.add_argument("--as", dest="name", help="which row of sources.yaml it is; default: the one that fits")
    parser.add_argument("--vocabulary", help="its classes, where the row names none; default: the first that fits")
    parser.add_argument("--mpp", type=_resolution, help="um/px of its images; default: as published")
    parser.add_argument("--size", type=int, help="side of patches, px; default: as published, or as most images")
    parser.set_defaults(handler=_import)


def _resolution(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < 100:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no um/px, such as 0.5")


def _import(arguments: argparse.Namespace) -> None:
    from wsss_mm.patches.describing import describe
    from wsss_mm.patches.recognising import Unrecognised, recognise

    try:
        found = recognise(arguments.folder, arguments.name, arguments.vocabulary)
    except Unrecognised as error:
        sys.stderr.write("".join(f"{spelled_out(line)}\n" for line in error.tried))
        raise
    sys.stdout.write("\n".join(line for one in found for line in describe(one, arguments.mpp)) + "\n")
    if len(found) > 1:
        names = ", ".join(one.definition.name for one in found)
        if not arguments.describe:
            raise InputError(f"{arguments.folder}: may be {names}; say which with --as")
        sys.stdout.write(f"may be {names}: say which with --as\n")
    elif arguments.describe:
        sys.stdout.write(f"next: {_command(found[0], arguments)}\n")
    else:
        _set_up(found[0], arguments)


def _command(found: "Recognised", arguments: argparse.Namespace) -> str:
    """The command that sets the line up."""
    row, said = found.definition, ["wsss-mm", "import", str(arguments.folder), "--as", found.definition.name]
    if row.vocabulary is None:
        said += ["--vocabulary", found.vocabulary.name]
    if arguments.mpp is not None or row.mpp is None:
        said += ["--mpp", "MPP" if arguments.mpp is None else f"{arguments.mpp:g}"]
    if arguments.size is not None:
        said += ["--size", str(arguments.size)]
    return shlex.join(said)


def _set_up(found: "Recognised", arguments: argparse.Namespace) -> None:
    from wsss_mm.patches.describing import usual_size
    from wsss_mm.settings import write_imported

    row = found.definition
    mpp = row.mpp if arguments.mpp is None else arguments.mpp
    if mpp is None:
        raise InputError(f"{arguments.folder}: nothing says its um/px; give --mpp, such as --mpp 0.5")
    size = usual_size(found) if arguments.size is None else arguments.size
    masks = any(file.mask is not None or file.areas is not None for file in found.files)
    write_imported(row, arguments.folder, found.vocabulary.name, mpp=mpp, size=size, masks=masks)
    look_each_time(Path(places.PIPELINE), Path(places.PARAMS_FILE))
    sys.stdout.write(f"{places.PARAMS_FILE} and gates.yaml: {row.name}, source {arguments.folder}\n")
    sys.stdout.write("next: dvc repro gate@patches, then: make repro\n")
