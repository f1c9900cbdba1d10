"""Fixtures every room uses."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.leaks import (
    nothing_of_the_fixtures_stays,
    nothing_of_the_test_stays,
    pytest_configure,
    pytest_unconfigure,
)
from tests.line import Line, checkout, run_small_line
from tests.order import pytest_collection_finish, pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [  # what pytest looks for here
    "nothing_of_the_fixtures_stays",
    "nothing_of_the_test_stays",
    "pytest_collection_finish",
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


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all processes of pytest."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """The tables of MLflow's store without a run, made once, which takes 5 s of CPU; to be copied."""
    from wsss_mm.tracking.store import make_tables

    database = shared_folder(tmp_path_factory) / "empty.db"
    make_tables(database)
    return database


@pytest.fixture(scope="session")
def line(project_root, tmp_path_factory) -> Line:
    """A small line, run once with real `dvc repro`: nine small slides, narrow networks, a few steps of training.

    One for all processes of pytest; who changes anything in it takes a copy.
    """
    base = shared_folder(tmp_path_factory)
    with FileLock(base / "line.lock"):
        root, made = base / "line", base / "line.made"
        if not made.exists():
            shutil.rmtree(root, ignore_errors=True)  # of a process that did not come to the end
            run_small_line(checkout(project_root, root))
            made.touch()
    return Line(root)
