"""`wsss-mm data`: the versions of the patches, and what changed between them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.tracking.data_versions import DataVersion

_NAMED = 10  # patches named of each kind of change


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser("data", help="versions of the patches, and what changed between them")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    log = actions.add_parser(
        "log",
        help="versions, newest first; or what changed between two",
        description="Versions of the patches that git has in dvc.lock, newest first, each with what changed since the "
        "one before. With two versions, the patches that changed between them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    log.add_argument(
        "versions", nargs="*", metavar="VERSION", help="two of: tag (patches@v1.2.0), commit, md5 (beginnings will do)"
    )
    log.add_argument("--path", default=places.PATCHES.as_posix(), help="folder of patches in dvc.lock")
    log.add_argument("--all", action="store_true", help=f"name all patches that changed, not {_NAMED} of a kind")
    log.set_defaults(handler=_log)


def _log(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking.data_versions import cache_folder, data_versions, find_data_version

    root = Path.cwd()
    versions = data_versions(root, arguments.path)
    if not arguments.versions:
        sys.stdout.write(_table(versions, cache_folder(root)))
        return
    if len(arguments.versions) != 2:
        raise InputError("give two versions, the older first, or none")
    before, after = (find_data_version(versions, name) for name in arguments.versions)
    sys.stdout.write(_difference(before, after, cache_folder(root), limit=None if arguments.all else _NAMED))


def _table(versions: "list[DataVersion]", cache: Path) -> str:
    from wsss_mm.tracking.data_versions import compare, label_counts, read_version
    from wsss_mm.tracking.label_versions import journals_line

    lines, earlier, commit = [], None, None
    for version in reversed(versions):  # oldest first, so that each is read once and the one before is at hand
        tags = f"  {' '.join(version.tags)}" if version.tags else ""
        entry = [f"{version.md5[:8]}  {version.date}  commit {version.commit[:8]}{tags}  {version.subject}"]
        size = f"{version.size / 1e6:.1f} MB in {version.files} files"
        try:
            content = read_version(version, cache)
        except InputError as error:
            entry.append(f"  {size}: {error}")
            content = None
        else:
            manifest = content[0]
            counts = ", ".join(f"{code} {count}" for code, count in label_counts(manifest).items())
            patients, slides = manifest["patient_id"].nunique(), manifest["slide_id"].nunique()
            entry.append(f"  {size}: {len(manifest)} patches of {patients} patients, {slides} slides; {counts}")
            if earlier is not None:
                entry.append(f"  since {earlier[0]}: {compare(earlier[1], content)}")
        if said := journals_line(Path.cwd(), (commit, version.commit)):
            entry.append(f"  journals: {said}")
        commit = version.commit
        earlier = None if content is None else (version.md5[:8], content)
        lines[:0] = entry
    return "\n".join(lines) + "\n"


def _difference(before: "DataVersion", after: "DataVersion", cache: Path, limit: int | None) -> str:
    from wsss_mm.tracking.data_versions import compare, label_counts, read_version
    from wsss_mm.tracking.label_versions import journals_line

    contents = [read_version(version, cache) for version in (before, after)]
    change = compare(contents[0], contents[1])
    lines = [f"{before.md5[:8]} to {after.md5[:8]}: {change}"]
    said = journals_line(Path.cwd(), (before.commit, after.commit))
    lines += [f"  journals: {said}"] if said else []
    counts = [label_counts(manifest) for manifest, _ in contents]
    for code in dict.fromkeys([*counts[0], *counts[1]]):
        old, new = (count.get(code, 0) for count in counts)
        lines.append(f"  {code:5} {old:6} to {new:6}  ({new - old:+})")
    lines += _named("added", change.added, limit)
    lines += _named("removed", change.removed, limit)
    for title, pairs in (("relabelled", change.relabelled), ("in another split", change.moved)):
        lines += _named(
            title, [f"{patch}: {old or 'none'} to {new or 'none'}" for patch, (old, new) in pairs.items()], limit
        )
    lines += _named("redrawn", change.redrawn, limit)
    return "\n".join(lines) + "\n"


def _named(title: str, items: Sequence[str], limit: int | None) -> list[str]:
    shown = items if limit is None else items[:limit]
    more = [f"    ... {len(items) - len(shown)} more (--all)"] if len(shown) < len(items) else []
    return [f"  {title}:", *(f"    {item}" for item in shown), *more] if items else []
