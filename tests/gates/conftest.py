"""The clean project, built once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from tests.gates.judging import Remembering, measures
from tests.gates.project import edit, make_project, set_params
from tests.settings import content_of
from wsss_mm.gates import runner
from wsss_mm.settings import Params


@pytest.fixture(scope="session")
def params_content() -> dict:
    return set_params(content_of("phantom"))


@pytest.fixture(scope="session")
def params(params_content) -> Params:
    return Params.model_validate(params_content)


@pytest.fixture(scope="session")
def clean_project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    make_project(root)
    return root


@pytest.fixture
def project(clean_project, tmp_path) -> Path:
    """A project's root with every artefact a gate reads, all of them good."""
    shutil.copytree(clean_project, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def alter(project):
    """Change a table or a JSON file of the project in place."""
    return lambda relative, change: edit(project / relative, change)


@pytest.fixture(scope="session")
def once() -> list:
    return list(measures())


@pytest.fixture
def each_column_once(once, monkeypatch):
    """Of what was measured or judged as it is the outcome is known: what is tested is what of it a fault changes."""
    monkeypatch.setattr(runner, "_Validator", Remembering)
    for module, name, remembering in once:
        monkeypatch.setattr(module, name, remembering)
