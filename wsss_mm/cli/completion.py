"""`wsss-mm completion`: what a shell needs to complete commands and options.

By shtab, which DVC uses and brings: it writes a script for bash, zsh or fish from the parser, once, so that a press of
TAB starts no Python, which argcomplete would.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError

_HOW = """to have it in each new shell:
  wsss-mm completion bash > ~/.local/share/bash-completion/completions/wsss-mm
  wsss-mm completion zsh > "${fpath[1]}/_wsss-mm"
  wsss-mm completion fish > ~/.config/fish/completions/wsss-mm.fish

in this one:
  eval "$(wsss-mm completion bash)"
"""
_FILES_IN_BASH = "compopt -o default wsss-mm 2>/dev/null || :  # files, where nothing else fits; bash 3 has no compopt"


def add_parser(subparsers: Any, build: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the sub-command.

    Args:
        subparsers: Of the command line.
        build: Makes the parser of the whole command line, which is completed.
    """
    parser = subparsers.add_parser(
        "completion",
        help="let your shell complete commands and options",
        description="Write a script with which a shell completes commands, options and files at TAB. It is of this "
        "version: write it again after an update.",
        epilog=_HOW,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")
    parser.set_defaults(handler=partial(_completion, build))


def _completion(build: Callable[[], argparse.ArgumentParser], arguments: argparse.Namespace) -> None:
    try:
        import shtab
    except ImportError:
        raise InputError("completion takes shtab, which DVC brings; install it with: pip install shtab") from None
    parser = build()
    if arguments.shell == "bash":  # shtab's own takes no names with blanks
        script = f"{shtab.complete(parser, shell='bash')}\n{_FILES_IN_BASH}"
    else:
        for action in _words(parser):
            action.complete = shtab.FILE  # ty: ignore[missing-attribute]  shtab looks for it
        script = shtab.complete(parser, shell=arguments.shell)
    sys.stdout.write(script + "\n")


def _words(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What takes a word that may be the name of a file, of all sub-commands."""
    for action in parser._actions:  # argparse has no other way, and shtab goes it, too
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _words(inner)
        elif action.nargs != 0 and action.choices is None and action.type in (None, Path):
            yield action
