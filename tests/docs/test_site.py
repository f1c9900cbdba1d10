"""The documentation's site has every page once, in order, and its links are looked at; so are files that hosts read."""

import importlib
import os
import re

import pytest
import yaml

from scripts.docs_site import BESIDE, FIRST, ROOMS, SECTIONS, broken_links, stage
from tests.docs.pages import links


@pytest.fixture(scope="module")
def site(project_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    return folder, stage(project_root, folder)


def leaves(navigation):
    for entry in navigation:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from leaves(value if isinstance(value, list) else [value])


def test_the_navigation_has_every_page_once_and_in_order(site, project_root):
    folder, navigation = site
    assert [next(iter(entry)) for entry in navigation] == ["wsss_mm", *SECTIONS]
    pages = list(leaves(navigation))
    assert len(pages) == len(set(pages))
    assert set(pages) >= {path.name for path in (project_root / "docs").glob("*.md")}
    assert all((folder / "source" / page).is_file() for page in pages)


def test_the_order_names_pages_that_there_are(project_root):
    named = [name for names in SECTIONS.values() for name in names]
    beside = {name: f"{page}.md" for page, name in BESIDE.items()}
    assert [n for n in named if not (project_root / beside.get(n, f"docs/{n}.md")).is_file()] == []
    assert len(named) == len(set(named))


def test_a_page_that_stands_nowhere_is_a_guide(project_root, tmp_path):
    (tmp_path / "project/docs").mkdir(parents=True)
    (tmp_path / "project/scripts").mkdir()
    (tmp_path / "project/docs/later.md").write_text("# Later\n")
    (tmp_path / "project/scripts/docs_site.toml").write_text((project_root / "scripts/docs_site.toml").read_text())
    navigation = stage(tmp_path / "project", tmp_path / "site")
    assert {"How-to guides": ["later.md"]} in navigation


def test_links_lead_within_the_site(site):
    folder, _ = site
    source = folder / "source"
    for path in source.rglob("*.md"):
        for target in links(source, path.relative_to(source).as_posix()):
            inner = target.partition("#")[0]
            assert not inner or (path.parent / inner).is_file(), f"{path}: {target}"
    assert (source / "files/params.yaml").is_file()
    assert "](getting-started.md)" in (source / "index.md").read_text(encoding="utf-8")


def test_the_settings_can_be_read(site):
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11, which the site needs
    folder, navigation = site
    project = tomllib.loads((folder / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert project["nav"] == navigation
    paths = project["plugins"]["mkdocstrings"]["handlers"]["python"]["paths"]
    assert paths == [os.path.relpath(".", "build/site")]


def test_the_api_has_rooms_and_functions_that_there_are(project_root):
    assert [name for name in ROOMS if not (project_root / "wsss_mm" / name / "__init__.py").is_file()] == []
    for name in FIRST:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__


def test_broken_links_are_found(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="#top">1</a><a href="#none">2</a><a href="inner/">3</a><a href="gone.html">4</a>'
        '<img src="gone.png"><a href="inner/index.html#there">5</a><a href="https://example.org/gone">6</a>'
        '<script src="https://example.org/a.js"></script>'
    )
    (tmp_path / "inner/index.html").write_text('<p id="there"><a href="../index.html#top">7</a><a href="/none">8</a>')
    assert list(broken_links(tmp_path)) == [
        *("index.html: #none", "index.html: gone.html", "index.html: gone.png"),
        *("index.html: https://example.org/a.js, from another host", "inner/index.html: /none"),
    ]


def test_the_hosted_ci_runs_the_projects_own_on_every_python(project_root):
    workflow = yaml.safe_load((project_root / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["ci"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(10, 15)]
    lowest = re.search(r'requires-python = ">=(\S+)"', (project_root / "pyproject.toml").read_text(encoding="utf-8"))
    assert lowest and lowest[1] == job["strategy"]["matrix"]["python"][0]


def test_hooks_run_what_there_is_with_the_tools_of_the_lock(project_root):
    hooks = yaml.safe_load((project_root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    (local,) = hooks
    assert local["repo"] == "local"  # no version but that of the lock
    for hook in local["hooks"]:
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        for word in arguments:
            if word.endswith(".py"):
                assert (project_root / word).is_file(), word


def test_the_citation_names_version_licence_and_sources(project_root):
    cited = yaml.safe_load((project_root / "CITATION.cff").read_text(encoding="utf-8"))
    pyproject = (project_root / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{cited["version"]}"' in pyproject
    assert f'license = "{cited["license"]}"' in pyproject
    readme = (project_root / "README.md").read_text(encoding="utf-8").partition("## The method")[2]
    for source in cited["references"]:
        assert source["authors"][0]["family-names"] in readme, source
