"""`wsss-mm quarantine`: set patches and slides aside, in a reviewed list."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.errors import InputError

_LIST = places.QUARANTINE  # as wsss_mm.patches.quarantine.PATH, which takes a second to import
_KIND_OF_INDEX = {"patch_id": "patch", "slide_id": "slide"}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser(
        "quarantine",
        help="set patches and slides aside, in a reviewed list",
        description="Set patches and slides aside. The list is in git, the patches stage leaves out what it names, and"
        " nothing is deleted: run `dvc repro` after a change, `git commit` to keep it.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    defaults = argparse.ArgumentDefaultsHelpFormatter
    listing = actions.add_parser("list", help="what is set aside, and why", formatter_class=defaults)
    adding = actions.add_parser(
        "add",
        help="set rows aside: those a gate found, or some by name",
        description="Set aside what a gate found (--from, narrowed with --check), or patches and slides by name.",
        formatter_class=defaults,
    )
    adding.add_argument("--from", dest="report", type=Path, help="a gate's report, reports/gates/<gate>.json")
    adding.add_argument("--check", action="append", default=[], help="of the report, this check only; repeatable")
    adding.add_argument("--patch", action="append", default=[], metavar="ID", help="a patch_id; repeatable")
    adding.add_argument("--slide", action="append", default=[], metavar="ID", help="a slide_id; repeatable")
    adding.add_argument("--reason", help="why; by default what the check found")
    adding.add_argument("--reviewer", help="who looked at them; by default git's user.name")
    adding.add_argument("--force", action="store_true", help="set names aside that are not in the cohort")
    adding.add_argument("--date", default=date.today().isoformat(), help="when, YYYY-MM-DD")
    removing = actions.add_parser("remove", help="take rows back", formatter_class=defaults)
    removing.add_argument("ids", nargs="+", metavar="ID", help="patch_id or slide_id")
    checking = actions.add_parser(
        "check",
        help="hold a list that was edited by hand against the cohort",
        description="Name each row whose patch or slide is not in the cohort, with the nearest that is, whose gate or "
        "check there is not, or that is there twice. Exit code 2 if there is one.",
        formatter_class=defaults,
    )
    for action, handler in ((listing, _list), (adding, _add), (removing, _remove), (checking, _check)):
        action.add_argument("--list", dest="path", type=Path, default=_LIST, help="the list")
        action.set_defaults(handler=handler)


def _list(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    import pandas as pd

    from wsss_mm.patches.quarantine import read_quarantine

    entries = read_quarantine(arguments.path)
    text = pd.DataFrame([asdict(entry) for entry in entries]).to_string(index=False) if entries else "nothing set aside"
    sys.stdout.write(text + "\n")


def _check(arguments: argparse.Namespace) -> None:
    from wsss_mm.gates.quarantine import quarantine_faults
    from wsss_mm.patches.quarantine import read_quarantine

    found = list(quarantine_faults(arguments.path))
    for line in found[1:]:
        sys.stderr.write(f"{line}\n")
    if found:
        raise InputError(found[0])
    sys.stdout.write(f"{arguments.path}: nothing is wrong with its {len(read_quarantine(arguments.path))} rows\n")


def _add(arguments: argparse.Namespace) -> None:
    from wsss_mm.gates.quarantine import set_aside
    from wsss_mm.patches.quarantine import KINDS, Entry, check_known

    if arguments.report is None and not (arguments.patch or arguments.slide):
        raise InputError("nothing to set aside: give --from reports/gates/<gate>.json, --patch ID or --slide ID")
    if arguments.check and arguments.report is None:
        raise InputError("--check narrows a report: give --from reports/gates/<gate>.json too")
    named = [(kind, name.strip()) for kind in KINDS for name in getattr(arguments, kind)]
    for kind in KINDS if not arguments.force else ():
        check_known(kind, [name for of, name in named if of == kind], arguments.path.parent)
    found: list[tuple[str, str, str, str, str]] = [(kind, name, "", "", arguments.reason or "") for kind, name in named]
    if arguments.report is not None:
        of_report = list(offending(arguments.report, arguments.check, arguments.reason))
        for kind in KINDS if not arguments.force else ():  # the report may be of another cohort
            check_known(kind, [name for of, name, *_ in of_report if of == kind], arguments.path.parent)
        found += of_report
    who = arguments.reviewer or _git_user()
    new = [Entry(kind, name, gate, check, why, who, arguments.date) for kind, name, gate, check, why in found]
    added = set_aside(new, arguments.path)
    for entry in added:
        sys.stdout.write(f"{entry.kind} {entry.id}: {entry.reason}\n")
    sys.stdout.write(
        f"{len(added)} set aside in {arguments.path}; review it (git diff), then dvc repro, and git commit it\n"
    )


def offending(report: Path, checks: list[str], reason: str | None) -> Iterator[tuple[str, str, str, str, str]]:
    """Kind, id, gate, check and reason of the rows a gate found; a row belongs to the first check it failed."""
    from wsss_mm.gates.reading import read_report
    from wsss_mm.yaml_places import suggestion

    result = read_report(report)
    by_name = {check.name: check for check in result.checks}
    unknown = [name for name in checks if name not in by_name]
    if unknown:
        hint = suggestion(unknown[0], by_name) or f"; choose from {', '.join(by_name)}"
        raise InputError(f"{report}: no check {unknown[0]!r}{hint}")
    chosen = [by_name[name] for name in checks] if checks else [c for c in by_name.values() if not c.passed]
    chosen = [check for check in chosen if check.index in _KIND_OF_INDEX and check.unexpected]
    if not chosen:
        raise InputError(f"{report}: names no patch or slide that failed; see reports/gates/index.html")
    seen = set()
    for check in chosen:
        if len(check.offending) < check.unexpected:
            raise InputError(
                f"{report}: {check.name} fails in {check.unexpected} of {check.rows} rows, which is no matter"
                f" of a few bad ones; {check.remedy or 'mend the cohort'}"
            )
        told = {text.partition(": ")[0]: f"; found: {text.partition(': ')[2]}" for text in check.examples}
        for name in check.offending:
            if name not in seen:
                seen.add(name)
                why = reason or f"not so: {check.says}{told.get(name, '')}"
                yield (
                    _KIND_OF_INDEX[str(check.index)],
                    name,
                    result.gate,
                    check.name,
                    why,
                )


def _remove(arguments: argparse.Namespace) -> None:
    from wsss_mm.patches.quarantine import remove_entries

    for entry in remove_entries(arguments.ids, arguments.path):
        sys.stdout.write(f"{entry.kind} {entry.id} is back after dvc repro\n")


def _git_user() -> str:
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
