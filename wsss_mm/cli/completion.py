"""`wsss-mm completion`: what a shell needs to complete commands and options.

By shtab, which DVC uses and brings: it writes a script for bash, zsh or fish from the parser, once, so that a press of
TAB starts no Python, which argcomplete would.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from wsss_mm.errors import InputError

_HOW = """to have it in each new shell:
  wsss-mm completion bash > ~/.local/share/bash-completion/completions/wsss-mm
  wsss-mm completion zsh > "${fpath[1]}/_wsss-mm"
  wsss-mm completion fish > ~/.config/fish/completions/wsss-mm.fish

in this one:
  eval "$(wsss-mm completion bash)"
"""


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
    sys.stdout.write(shtab.complete(build(), shell=arguments.shell) + "\n")
