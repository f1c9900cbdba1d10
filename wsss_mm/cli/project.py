"""`wsss-mm init` and `wsss-mm update`: a lab's project from the installed package, and a newer version's files."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from wsss_mm import __version__
from wsss_mm.errors import InputError, plain_lines

_SHOWN = 400  # lines of a diff


def add_parser(subparsers: Any) -> None:
    """Add both sub-commands."""
    init = subparsers.add_parser(
        "init",
        help="begin a project of your own in a new folder",
        description="Begin a project: the stages (dvc.yaml, pipelines/), the settings (params.yaml, gates.yaml), the "
        "configs of both trainings (mmconfigs/), the vocabularies and a Makefile. All of it is yours to change; "
        "`wsss-mm update` joins your changes with those of a newer version.",
        epilog="example: wsss-mm init lab",
    )
    init.add_argument("folder", type=Path, metavar="FOLDER", help="a folder that is new or empty")
    init.set_defaults(handler=_init)
    update = subparsers.add_parser(
        "update",
        help="bring a project's files up to the installed version",
        description="Show what the installed version would change in the project's files. What you changed stays: "
        "changes of other lines are joined with yours, and where both changed the same lines the file is named and "
        "left to you. Nothing is written without --apply, --keep or --take.",
        epilog="examples: wsss-mm update; wsss-mm update --apply",
    )
    update.add_argument("--dry-run", action="store_true", help="show what would change and write nothing, the default")
    update.add_argument("--apply", action="store_true", help="write it, all but what is in conflict")
    update.add_argument(
        "--keep", nargs="+", default=[], metavar="FILE", help="with what --apply does: files in conflict stay as yours"
    )
    update.add_argument(
        "--take", nargs="+", default=[], metavar="FILE", help="with what --apply does: they become the package's"
    )
    update.add_argument(
        "--check", action="store_true", help="exit with 1 if something would change, show nothing of it"
    )
    update.set_defaults(handler=_update)


def _init(arguments: argparse.Namespace) -> None:
    from wsss_mm.project.starting import begin_repository, start_project

    folder: Path = arguments.folder
    count = start_project(folder)
    in_git = begin_repository(folder)
    sys.stdout.write(f"{folder}: a project of wsss_mm {__version__}, {count} files\n")
    if not in_git:
        sys.stdout.write("there is no git here, which DVC needs; install it, then in the folder: git init\n")
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))}; "
    sys.stdout.write(
        f"next: {there}git add -A; git commit -m 'Begin'; make repro\n"
        "that runs all stages on slides the project makes itself; for your own: wsss-mm cohort add SLIDE...\n"
    )


def _update(arguments: argparse.Namespace) -> int:
    from wsss_mm.project.updating import apply_update, plan_update

    writes = bool(arguments.apply or arguments.keep or arguments.take)
    if writes and (arguments.dry_run or arguments.check):
        raise InputError("--dry-run and --check write nothing; leave out --apply, --keep and --take")
    if arguments.check:
        found = plan_update(Path())
        if found.changes:
            of = f"wsss_mm {__version__} is installed, and this project is of {found.before}: "
            sys.stderr.write(
                f"{of if found.before != __version__ else ''}{_files(len(found.changes))} to be updated or settled; "
                "look at them with: wsss-mm update\n"
            )
        return int(bool(found.changes))
    found = apply_update(Path(), arguments.keep, arguments.take) if writes else plan_update(Path())
    _show(found, written=writes)
    return int(writes and bool(found.conflicts))


def _show(found: Any, *, written: bool) -> None:
    from wsss_mm.project.note import has_text, is_made

    out = sys.stdout.write
    if not found.changes:
        out(f"nothing to change: the project's files are those of wsss_mm {__version__}, or your own\n")
        return
    made = [path for path in found.changes if is_made(path)]
    for path, change in found.changes.items():
        if path in made:
            continue
        out(f"{change.kind:9}{path}\n")
        if change.kind in ("new", "removed") or (written and change.kind != "conflict"):
            continue
        lines = change.diff().splitlines(keepends=True)
        if not has_text(path) or len(lines) > _SHOWN:
            out(f"         {len(lines)} lines of differences, not shown\n")
        else:
            out(plain_lines("".join(lines)))
    if made:
        stages = ", ".join(Path(path).stem for path in made)
        out(f"{'will' if written else 'would'} run again, as the code they rest on is another: {stages}\n")
    _say_what_next(found, written=written)


def _say_what_next(found: Any, *, written: bool) -> None:
    out = sys.stdout.write
    others = len(found.changes) - len(found.conflicts)
    if others:
        versions = f", from wsss_mm {found.before} to {__version__}" if found.before != __version__ else ""
        out(f"{_files(others)} {'changed' if written else 'would change'}{versions}\n")
    if found.conflicts:
        first = shlex.quote(found.conflicts[0])
        out(
            f"{len(found.conflicts)} in conflict, left as yours: take over by hand what the diff above shows, then: "
            f"wsss-mm update --keep {first}; or have the package's: wsss-mm update --take {first}\n"
        )
    if others and not written:
        out("next: wsss-mm update --apply\n")
    elif not found.conflicts:
        out("next: git diff; git add -A; git commit; make repro\n")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
