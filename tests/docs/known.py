"""Whether a command that is not run would be understood: programs, sub-commands, options, modules, files."""

import argparse
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

_FOREIGN = {
    *(
        "cd",
        "export",
        "source",
        "find",
        "xdg-open",
        "sudo",
        "pip",
        "curl",
        "ssh",
        "scp",
        "ssh-add",
        "cp",
        "mkdir",
    ),
    *("docker", "psql", "createdb", "createuser", "htpasswd", "openssl", "aws", "gto", "nvidia-smi", "df", "rm", "ls"),
    *(
        "chmod",
        "tee",
        "head",
        "echo",
        "apt-get",
        "ssh-keygen",
        "initdb",
        "pg_ctl",
        "cat",
        "kill",
        "python3",
        "pre-commit",
    ),
}
"""Programs that are not this project's: whether they are called rightly is for a reader to see."""


class UnknownCommandError(AssertionError):
    """A command of the documentation that would not be understood."""


def check(command: str, root: Path) -> None:
    """Raise `UnknownCommandError` if a line of shell names what there is not."""
    for words in _simple_commands(command):
        program, *arguments = words
        checker = _CHECKERS.get(program)
        if checker is None and program not in _FOREIGN:
            raise UnknownCommandError(f"{program}: no program the tests of the documentation know: {command}")
        if checker is not None:
            try:
                checker(arguments, root)
            except UnknownCommandError as error:
                raise UnknownCommandError(f"{error}: {command}") from None


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, split at && || | ; and without leading NAME=value."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("&|;"):
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


def parses(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Raise if an argparse parser does not take the arguments."""

    def refuse(message: str, *_: object) -> None:
        raise UnknownCommandError(f"{parser.prog}: {message}")

    stack = [parser]
    while stack:
        current = stack.pop()
        current.error = refuse  # type: ignore[method-assign,assignment]
        current.allow_abbrev = False
        for action in current._actions:
            if isinstance(action, argparse._SubParsersAction):
                stack.extend(action.choices.values())
    try:
        parser.parse_args(arguments)
    except SystemExit as error:  # --help and --version
        if error.code:
            raise UnknownCommandError(f"{parser.prog} refuses {arguments}") from None


def _wsss_mm(arguments: list[str], root: Path) -> None:
    from wsss_mm.cli.main import build_parser

    parses(build_parser(), arguments)


def _dvc(arguments: list[str], root: Path) -> None:
    from dvc.cli.parser import get_main_parser

    parses(get_main_parser(), arguments)
    targets = [word for word in arguments if re.fullmatch(r"[a-z_]+@[a-z_]+", word)]
    declared = (root / "dvc.yaml").read_text(encoding="utf-8")
    for target in targets:
        if not re.search(rf"^ +{target.split('@')[1]}: ", declared, re.MULTILINE):
            raise UnknownCommandError(f"no stage {target}")


def _git(arguments: list[str], root: Path) -> None:
    done = subprocess.run(["git", arguments[0], "-h"], cwd=root, capture_output=True, check=False)
    if done.returncode not in (0, 129):
        raise UnknownCommandError(f"git has no {arguments[0]}")


def _make(arguments: list[str], root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        if "=" not in target and not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
            raise UnknownCommandError(f"no target {target} in the Makefile")


def _python(arguments: list[str], root: Path) -> None:
    """`-m module` or a script of the project, whose source names each option."""
    if arguments[0] == "-m":
        _module(arguments[1], arguments[2:], root)
    else:
        _script(arguments[0], arguments[1:], root)


def _module(name: str, arguments: list[str], root: Path) -> None:
    if name == "pytest":
        _pytest(arguments, root)
    elif name == "pipelines":
        _stage(arguments)
    elif (root / name.split(".", maxsplit=1)[0]).is_dir():
        _script(name.replace(".", "/") + ".py", arguments, root)
    elif importlib.util.find_spec(name) is None:
        raise UnknownCommandError(f"no module {name}")


def _stage(arguments: list[str]) -> None:
    from pipelines.__main__ import STAGES

    if arguments[:1] not in [[stage] for stage in STAGES]:
        raise UnknownCommandError(f"no stage {' '.join(arguments)}")


def _script(name: str, arguments: list[str], root: Path) -> None:
    path = root / name
    if not path.is_file():
        raise UnknownCommandError(f"no file {name}")
    source = path.read_text(encoding="utf-8")
    for option in (word for word in arguments if word.startswith("-")):
        if f'"{option}"' not in source:
            raise UnknownCommandError(f"{name} has no option {option}")


def _pytest(arguments: list[str], root: Path) -> None:
    for word in arguments:
        if word.startswith("tests/") and not (root / word.split("::")[0]).exists():
            raise UnknownCommandError(f"no test {word}")


def _mlflow(arguments: list[str], root: Path) -> None:
    from mlflow.cli import cli

    _clicks(cli, arguments)


def _ray(arguments: list[str], root: Path) -> None:
    if importlib.util.find_spec("ray") is not None:
        from ray.scripts.scripts import cli

        _clicks(cli, arguments)


def _clicks(command: object, arguments: list[str]) -> None:
    """Raise if a click command lacks the sub-commands and options."""
    while arguments and hasattr(command, "commands") and not arguments[0].startswith("-"):
        name, *arguments = arguments
        if name not in command.commands:
            raise UnknownCommandError(f"no command {name}")
        command = command.commands[name]
    known = {text for item in command.params for text in (*item.opts, *item.secondary_opts)}  # type: ignore[attr-defined]
    for word in arguments:
        if word.startswith("-") and word.split("=")[0] not in known:
            raise UnknownCommandError(f"no option {word}")


def _torchrun(arguments: list[str], root: Path) -> None:
    from torch.distributed.run import get_args_parser

    parses(get_args_parser(), arguments)
    if "-m" in arguments:
        name, *rest = arguments[arguments.index("-m") + 1 :]
        _module(name, rest, root)


def _bash(arguments: list[str], root: Path) -> None:
    if not (root / arguments[0]).is_file():
        raise UnknownCommandError(f"no file {arguments[0]}")


_CHECKERS: dict[str, Callable[[list[str], Path], None]] = {
    "wsss-mm": _wsss_mm,
    "dvc": _dvc,
    "git": _git,
    "make": _make,
    "python": _python,
    "pytest": _pytest,
    "mlflow": _mlflow,
    "ray": _ray,
    "torchrun": _torchrun,
    "bash": _bash,
}


@cache
def leaves() -> dict[str, set[str]]:
    """Every command of `wsss-mm` that does something, such as "models promote", and its options."""
    from wsss_mm.cli.main import build_parser

    found: dict[str, set[str]] = {}
    stack = [("", build_parser())]
    while stack:
        name, parser = stack.pop()
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in inner:
            stack.extend((f"{name} {key}".strip(), value) for key, value in action.choices.items())
        if not inner:
            found[name] = {text for action in parser._actions for text in action.option_strings}
    return found
