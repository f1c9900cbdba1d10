"""The umask decides who may read and replace what is written: tried with two accounts."""

import os
import subprocess

import pytest

from tests import warm

RUN = "import runpy; runpy.run_module('tests.users', run_name='__main__', alter_sys=True)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become two other users")
@pytest.mark.parametrize("case", ["colleagues", "private"])
def test_two_accounts(case, project_root):
    closed = [folder for folder in (project_root, *project_root.parents) if folder.stat().st_mode & 0o005 != 0o005]
    if closed:
        pytest.skip(f"other accounts may not look into {closed[0]}, where the project lies")
    environment = os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    command = [warm.python(), "-c", RUN, case]
    done = subprocess.run(command, cwd=project_root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
