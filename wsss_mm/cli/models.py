"""`wsss-mm models`: what the registry holds, and who is champion."""

import argparse
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.cli import model_files
from wsss_mm.errors import InputError, plain_lines
from wsss_mm.files import locked

_SHOWN = ("version", "aliases", "created", "test.miou", "test.interval", "data.patches", "weights_md5")
_DIGEST = 8  # leading digits that tell digests apart


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser(
        "models",
        aliases=["model"],
        help="list, promote, pin, roll back and delete registered models; export and import models",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", _list, "versions with aliases, metrics and digests")
    listing.add_argument("--all", action="store_true", help="all tags, digests in full")
    promote = _action(actions, "promote", _promote, "make a version the champion, if it beats the one there is")
    promote.add_argument("version", nargs="?", default="challenger", help="number or alias")
    promote.add_argument("--force", metavar="REASON", help="promote whatever speaks against it, and keep the reason")
    rollback = _action(actions, "rollback", _rollback, "give `champion` back to the version before")
    rollback.add_argument("--reason", required=True, help="kept as a tag")
    delete = _action(actions, "delete", _delete, "delete a version; a champion is rolled back first")
    delete.add_argument("version", help="number or alias")
    delete.add_argument("--reason", required=True, help="kept as a tag of the run")
    _action(actions, "pin", _pin, "write the champion into champion.json, for gate segmenter to compare with")
    card = _action(actions, "card", _card, "what a version is for, how good it is, what it was made from")
    card.add_argument(
        "what", nargs="?", default="champion", help="number, alias, or a slide's results (results/slides/S1)"
    )
    model_files.add_actions(actions)


def _action(actions: Any, name: str, handler: Any, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--name", help="registered model; default: register.model_name of params.yaml")
    parser.set_defaults(handler=partial(_named, handler))
    return parser


def registered_name() -> str:
    """The model that params.yaml registers.

    Raises:
        InputError: it registers none, or there is none here.
    """
    from wsss_mm.settings import load_params

    if not Path(places.PARAMS_FILE).is_file():
        raise InputError("no params.yaml here that names a model; go to the project's root, or: --name NAME")
    name = load_params().register_.model_name
    if name is None:
        raise InputError(
            "params.yaml: register.model_name is null, so nothing is registered, as with profile tiny; give it a name, "
            "or name a model: --name NAME"
        )
    return name


def _named(handler: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    arguments.name = arguments.name or registered_name()
    handler(arguments)


def _list(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking import list_versions

    versions = list_versions(arguments.name)
    if not arguments.all:
        gates = [column for column in versions if column.startswith("gate.")]
        shown = versions[[column for column in _SHOWN if column in versions]].copy()
        for column in ("data.patches", "weights_md5"):
            if column in shown:
                shown[column] = shown[column].str[:_DIGEST]
        failed = (versions[gates] == "failed").sum(axis=1)
        shown["gates"] = [f"{count} failed" if count else "passed" for count in failed] if gates else ""
        versions = shown
    sys.stdout.write(plain_lines(versions.to_string(index=False)) + "\n")


def _pin(arguments: argparse.Namespace) -> None:
    from wsss_mm.gates.champion import PIN, write_pin
    from wsss_mm.tracking import champion_pin

    if arguments.name != registered_name():
        raise InputError(f"params.yaml: registers {registered_name()}, not {arguments.name}: its champion is no rival")
    with locked(PIN):
        pin = champion_pin(arguments.name)
        write_pin(Path(), pin)
    held = f"version {pin.champion.version}" if pin.champion else "no champion"
    sys.stdout.write(f"{PIN}: {pin.name}, {held}; commit it: dvc repro compares new models with it\n")


def _pinned_anew(name: str) -> None:
    """Keep champion.json in step with a move made in the project that registers the model."""
    from wsss_mm.gates.champion import PIN, write_pin
    from wsss_mm.settings import load_params
    from wsss_mm.tracking import champion_pin

    if PIN.is_file() and Path(places.PARAMS_FILE).is_file() and load_params().register_.model_name == name:
        with locked(PIN):  # of two moves at once the last to write has seen both
            write_pin(Path(), champion_pin(name))
        sys.stdout.write(f"{PIN} says so, too; commit it\n")


def _promote(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking import promote

    done = promote(arguments.name, arguments.version, reason=arguments.force)
    sys.stdout.write(f"{done.name}: champion is version {done.version}, before it {done.previous or 'none'}\n")
    for objection in done.objections:
        sys.stdout.write(f"  in spite of: {objection}\n")
    _pinned_anew(arguments.name)


def _rollback(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking import rollback

    done = rollback(arguments.name, arguments.reason)
    sys.stdout.write(f"{done.name}: champion is version {done.version} again, no longer {done.previous}\n")
    _pinned_anew(arguments.name)


def _delete(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking import delete

    moved = delete(arguments.name, arguments.version, arguments.reason)
    champion = f"; champion is version {moved.version} again" if moved else ""
    sys.stdout.write(f"{arguments.name}: version {arguments.version} is deleted{champion}\n")
    _pinned_anew(arguments.name)


def _card(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking.registry import find_version, version_of_weights

    summary = Path(arguments.what) / places.SUMMARY
    if summary.is_file():
        version = version_of_weights(arguments.name, _weights_of(summary))
    else:
        version = find_version(arguments.name, arguments.what)
    if not version.description:
        raise InputError(f"{arguments.name} version {version.version} has no card; make it: dvc repro -s -f register")
    aliases = f", {', '.join(version.aliases)}" if version.aliases else ""
    sys.stdout.write(f"{arguments.name} version {version.version}{aliases}\n\n{plain_lines(version.description)}")


def _weights_of(summary: Path) -> str:
    """The md5 in a slide's summary, which may come from anywhere; it becomes part of a query."""
    from wsss_mm.formats import read_object
    from wsss_mm.places import SLIDE_SUMMARY

    with suppress(KeyError, TypeError):
        md5 = read_object(summary, SLIDE_SUMMARY)["model"]["weights_md5"]
        if re.fullmatch("[0-9a-f]{32}", md5):
            return md5
    raise InputError(f"{summary}: names no model's weights; segment the slide again")
