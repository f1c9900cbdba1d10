"""`wsss-mm reproduce`: make a registered model again and compare every byte."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError, spelled_out


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "reproduce",
        help="make a registered model again and compare",
        description="Clone the commit of a registered model into a scratch folder, run the line with its params.yaml, "
        "and compare the md5 of every out: identical on the same kind of CPU with the same installed versions. Exit "
        "code 1 when something differs; what gate segmenter says may (`its day`), since it knew another champion. "
        "The project, its MLflow store and its registry stay as they are.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="models:/NAME/3 or models:/NAME@champion")
    parser.add_argument(
        "--apply-diff",
        action="store_true",
        help="apply what was not committed then, and run it: code from the registry's store, which is printed first",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="clone into this new folder and keep it")
    parser.set_defaults(handler=_reproduce)


def _reproduce(arguments: argparse.Namespace) -> int:
    from wsss_mm.tracking.reproduce import reproduce

    keep: Path | None = arguments.keep
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise InputError(f"--keep {keep}: exists; give a new folder")
    with tempfile.TemporaryDirectory(prefix="wsss-mm-reproduce-") as scratch:
        clone = keep or Path(scratch) / "clone"
        outs = reproduce(arguments.model, Path.cwd(), clone, apply_diff=arguments.apply_diff, show=sys.stderr.write)
    for out in outs:
        verdict = "same" if out.same else "missing" if out.now is None else "its day" if out.of_its_day else "differs"
        files = f"  ({', '.join(out.files)})" if out.files else ""
        line = f"{verdict:8} {out.then[:8]} {(out.now or '')[:8]:8} {out.path}{files}"
        sys.stdout.write(f"{spelled_out(line)}\n")
    differ = sum(not out.same and not (out.of_its_day and out.now) for out in outs)
    sys.stdout.write(f"{arguments.model}: {differ or 'none'} of {len(outs)} outs differ\n")
    return 1 if differ else 0
