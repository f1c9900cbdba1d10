"""The documentation says what is so: its commands run or are understood, its links and names lead somewhere.

A block of commands is run in a small checkout, in which the line has run once with the profile `tiny`. One that cannot
be says so in a comment directly above it, `<!-- not run: reason -->`; its programs, sub-commands, options, modules and
files must still exist.
"""

import re
import shutil

import pytest
import yaml

from tests.docs.known import UnknownCommandError, check, leaves
from tests.docs.pages import anchors, blocks, inline_code, links, pages, prose
from tests.line import Line
from wsss_mm.settings import render_gates, render_profile

SECTIONS = "cohort|patches|classifier|pseudo_labels|choose_pseudo_labels|segmenter|evaluate|slides|register"
FILES = ("csv", "json", "parquet", "png", "tif", "md", "py", "html", "yaml", "svs", "pth")


def page_names() -> list[str]:
    from tests.conftest import ROOT

    return pages(ROOT)


@pytest.fixture(scope="session")
def sandbox(line, tmp_path_factory) -> Line:
    """A copy of the line's checkout, that commands may change."""
    return line.copy(tmp_path_factory.mktemp("sandbox") / "project")


@pytest.mark.slow
@pytest.mark.xdist_group("line-docs")
@pytest.mark.parametrize("page", page_names())
def test_blocks_run(page, sandbox, line, project_root):
    for name in ("params.yaml", "gates.yaml"):  # a page may have chosen a profile
        shutil.copyfile(line.root / name, sandbox.root / name)
    for block in blocks(project_root, page):
        if block.reason is None:
            done = sandbox.run("bash", "-euo", "pipefail", "-c", block.text, check=False)
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            assert done.returncode == 0, f"{page}:{block.line} exits {done.returncode}\n{block.text}\n{said}"


@pytest.mark.parametrize("page", page_names())
def test_commands_are_understood(page, project_root):
    for block in blocks(project_root, page):
        for command in block.commands:
            try:
                check(command, project_root)
            except UnknownCommandError as error:
                pytest.fail(f"{page}:{block.line}: {error}")


@pytest.mark.parametrize("page", page_names())
def test_every_block_with_a_command_is_a_block_of_bash(page, project_root):
    text = re.sub(r"^ *```\w+\n.*?^ *```", "", (project_root / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert "```\n" not in text, "a fence without a language is not tested"
    hidden = re.findall(r"^    (?:dvc|wsss-mm|git|make|mlflow|python) .*", text, re.MULTILINE)
    assert not hidden, "an indented block is not tested"


@pytest.mark.parametrize("page", page_names())
def test_commands_in_sentences_exist(page, project_root):
    for code in inline_code(project_root, page):
        if not code.startswith("wsss-mm ") or "|" in code:
            continue
        words = code.split()[1:]
        named = [name for name in leaves() if words[: len(name.split())] == name.split()]
        groups = {name.split()[0] for name in leaves()}
        assert named or words[0].startswith("-") or (len(words) == 1 and words[0] in groups), code
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        for name in named:
            assert options <= leaves()[name], code


@pytest.mark.parametrize("page", page_names())
def test_links_and_pictures_are_there(page, project_root):
    folder = (project_root / page).parent
    for target in links(project_root, page):
        path, _, anchor = target.partition("#")
        assert not path or (folder / path).exists(), target
        if anchor:
            other = (folder / path).relative_to(project_root).as_posix() if path else page
            assert anchor in anchors(project_root, other), target


@pytest.mark.parametrize("page", page_names())
def test_parameters_exist(page, project_root):
    files = [yaml.safe_load(text) for text in (render_profile("phantom"), render_gates("phantom"))]
    named = {code.split("=")[0].split(":")[0] for code in inline_code(project_root, page)}
    named |= set(re.findall(r"(?:-S|--set-param) '?(?:gates\.yaml:)?([\w.]+)=", (project_root / page).read_text()))
    for name in sorted(named):
        if not re.fullmatch(rf"({SECTIONS})(\.\w+)+", name) or name.rpartition(".")[2] in FILES:
            continue
        assert any(_has(content, name) for content in files), f"{page}: {name} is not in params.yaml or gates.yaml"


def _has(content, name):
    for key in name.split("."):
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def test_every_command_is_named(project_root):
    text = "\n".join((project_root / page).read_text() for page in pages(project_root))
    for name in leaves():
        group, _, last = name.partition(" ")
        spelt = rf"wsss-mm {group}(?: [\w|]*\b{last}\b)?" if last else rf"wsss-mm {group}\b"
        assert re.search(rf"wsss-mm {name}\b", text) or re.search(spelt + r"(?!-)", text), name
    assert set(leaves()) >= {"segment", "models promote"}


def test_the_readme_leads_to_every_page(project_root):
    assert {f"docs/{path.name}" for path in (project_root / "docs").glob("*.md")} <= set(
        links(project_root, "README.md")
    )


def test_pictures_are_small_and_shown(project_root):
    shown = {target.rpartition("/")[2] for page in pages(project_root) for target in links(project_root, page)}
    for path in (project_root / "docs/pictures").iterdir():
        assert path.stat().st_size < 1_000_000, path
        assert path.name in shown, path


@pytest.mark.parametrize(
    "command",
    [
        *("wsss-mm segmnt a.svs", "wsss-mm segment a.svs --window", "wsss-mm segment a.svs --tissu", "wsss-mm models"),
        *("dvc exp ruin", "dvc repro gate@nobody", "dvc plots diff --no-such", "git comit", "make rebro", "nonsense"),
        *("python scripts/none.py", "python -m studies.none", "python -m studies.noise --none", "pytest tests/none.py"),
        *("mlflow models serf", "mlflow models serve --none", "torchrun --none -m pipelines.train_segmenter"),
        *("export A=1; dvc none", "A=1 dvc none && ls", "ls | wsss-mm none", "torchrun -m pipelines.none"),
    ],
)
def test_a_broken_command_is_found(command, project_root):
    with pytest.raises(UnknownCommandError):
        check(command, project_root)


def test_a_good_command_passes(project_root):
    for command in (
        "wsss-mm segment scans/*.svs --out results   # all of them",
        "A=1 dvc repro gate@patches && git push",
        "python -m studies.ablation -S seed=1",
    ):
        check(command, project_root)


def test_blocks_and_reasons_are_read(tmp_path):
    (tmp_path / "README.md").write_text(
        "<!-- not run: a GPU -->\n```bash\nfirst\n```\n\n"
        "<!-- not run: too far -->\n\n```bash\n# no\nsecond \\\n  more\n```\n"
    )
    first, second = blocks(tmp_path, "README.md")
    assert (first.reason, first.commands) == ("a GPU", ["first"])
    assert second.reason is None
    assert [" ".join(command.split()) for command in second.commands] == ["second more"]
    assert "first" not in prose(tmp_path, "README.md")


def test_messages_of_troubleshooting_are_those_of_the_code(project_root):
    """A piece of each message, without names and numbers, stands in the code, whose strings are joined first."""
    files = [
        *project_root.glob("wsss_mm/**/*.py"),
        *project_root.glob("scripts/*"),
        *project_root.glob("pipelines/*.py"),
    ]
    code = "\n".join(path.read_text() for path in files if path.is_file())
    code = re.sub(r'"\s*\n\s*f?"', "", code).replace("`", "")
    code += " ".join((project_root / "wsss_mm/gates/checks.yaml").read_text().split())
    page = (project_root / "docs/troubleshooting.md").read_text()
    messages = [
        message
        for line in re.findall(r"^\*\*`.*$", page, re.MULTILINE)
        for message in re.findall(r"\*\*`([^`]+)`\*\*", line)
    ]
    assert len(messages) > 20
    for message in messages:
        if (
            message.startswith(
                ("ERROR: ", "wsss-mm: command not found", "If there are no processes", "[Errno", "mlflow.")
            )
            or "Input should" in message
        ):
            continue  # those of DVC, the shell, MLflow and pydantic
        pieces = [piece.strip() for piece in re.split(r"sqlite\S*|models/\S*|[;:,()']|\.\.\.|\S*\d\S*", message)]
        assert any(len(piece) >= 14 and piece in code for piece in pieces), message
