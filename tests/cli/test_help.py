"""What `--help` says: examples that the parser takes, defaults that there are, profiles; and completion."""

import argparse
import shlex
import subprocess
from functools import cache

import pytest

from wsss_mm.cli import help as of
from wsss_mm.cli.main import build_parser, main
from wsss_mm.settings import profile_names, profile_summaries


def parsers(parser=None, path=()):
    """Every command that does something, by its name."""
    parser = parser or build_parser()
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(path), parser
    for group in groups:
        for name, inner in group.choices.items():
            if name != "model":  # another name of models
                yield from parsers(inner, (*path, name))


@cache
def commands():
    return dict(parsers())


@pytest.mark.parametrize("name", commands())
def test_every_command_has_examples_that_it_takes(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = commands()[name].format_help()
    shown = text[text.index("example") :].splitlines()[1:] if name != "completion" else text.splitlines()
    examples = [line.strip() for line in shown if line.startswith(f"  wsss-mm {name.split()[0]}"[:12])]
    examples = [line.partition(" > ")[0].partition("#")[0] for line in examples if line.startswith("wsss-mm ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        assert build_parser().parse_args(words).handler


def test_examples_of_nobody_are_none():
    assert set(of.EXAMPLES) <= set(commands())


@pytest.mark.parametrize("name", commands())
def test_defaults_are_real(name):
    """None, an empty list and a switch that is off are no defaults that one reads."""
    text = " ".join(commands()[name].format_help().split())
    for nothing in ("None", "[]", "''", "False)", "==SUPPRESS=="):
        if nothing == "False)" and name == "segment":  # of --x, --no-x it says which it is
            continue
        assert f"(default: {nothing}" not in text
    for action in commands()[name]._actions:
        if isinstance(action.default, int | float) and action.nargs != 0:
            assert f"default: {action.default}" in text, action.option_strings


def test_a_default_is_said_once():
    for name, parser in commands().items():
        for action in parser._actions:
            shown = parser._get_formatter()._expand_help(action) if action.help else ""
            assert shown.lower().count("default") <= 1, (name, shown)


def test_the_line_is_in_the_help_of_all(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "\nexamples:\n  wsss-mm doctor " in text
    assert "  make repro " in text
    for line in text[text.index("examples:") :].splitlines():
        if line.startswith("  wsss-mm "):
            command = line.partition("   ")[0] if line.count("   ") > 1 else line
            words = shlex.split(command.strip().split("  ")[0])[1:]
            assert build_parser().parse_args(words).handler


def test_profiles_say_what_they_are(capsys):
    with pytest.raises(SystemExit):
        main(["profile", "--help"])
    text = capsys.readouterr().out
    summaries = profile_summaries()
    assert list(summaries) == profile_names()
    for name, summary in summaries.items():
        assert len(summary) > 20
        assert any(line.split() == [name, *summary.split()] for line in text.splitlines())
    assert "For a GPU" in summaries["luad"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["wsss-mm", "mod"], {"models", "model"}),
        (["wsss-mm", "models", "pro"], {"promote"}),
        (["wsss-mm", "profile", "lu"], {"luad", "luad_histoseg"}),
        (["wsss-mm", "segment", "--ove"], {"--overlap"}),
    ],
)
def test_bash_completes(words, wanted, completion):
    line = shlex.join(words)
    script = f"{completion}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'\n"
    script += 'name=$(complete -p wsss-mm | sed -E "s/.*-F ([^ ]+).*/\\1/"); "$name" wsss-mm\n'
    done = subprocess.run(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True
    )
    assert {word.strip() for word in done.stdout.split()} == wanted, done.stderr


@pytest.fixture(scope="module")
def completion():
    import io
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()) as said:
        assert main(["completion", "bash"]) == 0
    return said.getvalue()


@pytest.mark.parametrize(("shell", "begins"), [("zsh", "#compdef wsss-mm"), ("fish", "#")])
def test_other_shells_have_theirs(shell, begins, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert begins in text
    assert "promote" in text
    files = {"zsh": ":whole-slide image that OpenSlide opens:_files", "fish": '-l out -xka "(__fish_complete_path'}
    assert files[shell] in text


def test_bash_completes_files_where_nothing_else_fits(completion):
    done = subprocess.run(
        ["bash", "-c", f"{completion}\ncomplete -p wsss-mm"], capture_output=True, text=True, check=True
    )
    assert "-o default" in done.stdout


def test_without_shtab_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    error = capsys.readouterr().err
    assert "pip install shtab" in error
    assert error.count("\n") == 1
