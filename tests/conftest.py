"""Fixtures every room uses."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.leaks import (
    nothing_of_the_fixtures_stays,
    nothing_of_the_test_stays,
    pytest_configure,
    pytest_unconfigure,
)
from tests.line import Line, checkout
from tests.order import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [  # what pytest looks for here
    "nothing_of_the_fixtures_stays",
    "nothing_of_the_test_stays",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_unconfigure",
    "pytest_xdist_make_scheduler",
]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a shell's background, where no child would hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
# As in the line, and for what tests start: read when torch is imported, by the process that forks stages too.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ["DVC_NO_ANALYTICS"] = "1"  # or each command of dvc leaves a process that reports to its makers
settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real research data, which the project does not contain; tests skip without it."""
    folder = Path(os.environ.get("WSSS_MM_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"no research data at {folder} (set WSSS_MM_DATA)")
    return folder


@pytest.fixture(scope="session")
def line(project_root, tmp_path_factory) -> Line:
    """A small line, run once with real `dvc repro`: nine small slides, narrow networks, a few steps of training."""
    line = checkout(project_root, tmp_path_factory.mktemp("line"))
    line.run("wsss-mm", "profile", "tiny")
    line.change_params({"register": {"model_name": "segmenter-phantom"}})  # tests of the registry want a version
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Small line")
    line.run("dvc", "repro")
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Run the small line")
    return line
