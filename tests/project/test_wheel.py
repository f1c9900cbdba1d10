"""What setup.py puts into a wheel gives a lab the files of this checkout, and its stages run where only that is."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from wsss_mm.choosing.tuning.experiments import code_digest
from wsss_mm.project.shipped import patterns, shipped

SHOW = "import json, wsss_mm.project.shipped as s; print(json.dumps([s.__file__, s.shipped()]))"


def run(*command, cwd, path):
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # noqa: PTH120
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(project_root, tmp_path_factory):
    """The package as a wheel holds it."""
    folder = tmp_path_factory.mktemp("built")
    made = ("egg_info", "--egg-base", str(folder), "build_py", "--build-lib", str(folder / "lib"))
    run(sys.executable, "setup.py", "-q", *made, cwd=project_root, path="")
    return folder / "lib"


def test_the_wheel_holds_the_files_of_this_checkout(built, project_root):
    found = files_of(built / "wsss_mm/project/files")
    wanted = {path.relative_to(project_root).as_posix() for item in patterns() for path in project_root.glob(item)}
    assert found == {name: (project_root / name).read_bytes() for name in wanted}


def test_a_wheel_of_the_archive_of_sources_is_the_same(built, project_root, tmp_path):
    made = ("egg_info", "--egg-base", str(tmp_path), "sdist", "--formats", "gztar", "--dist-dir", str(tmp_path))
    run(sys.executable, "setup.py", "-q", *made, cwd=project_root, path="")
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path)
    (sources,) = (path.parent for path in tmp_path.glob("*/setup.py"))
    run(sys.executable, "setup.py", "-q", "build_py", "--build-lib", "lib", cwd=sources, path="")
    assert files_of(sources / "lib") == files_of(built)


@pytest.mark.slow
def test_a_lab_of_the_wheel_is_one_of_this_checkout_and_runs(built, tmp_path):
    file, files = json.loads(run(sys.executable, "-c", SHOW, cwd=tmp_path, path=built))
    assert file.startswith(str(built))
    assert files == shipped()
    run(sys.executable, "-m", "wsss_mm.cli.main", "init", "Labor für Gewebe", cwd=tmp_path, path=built)
    lab = tmp_path / "Labor für Gewebe"
    run("dvc", "repro", "labels", cwd=lab, path=built)
    assert "code/labels.sha256" in (lab / "dvc.lock").read_text(encoding="utf-8")
    run("git", "add", "-A", cwd=lab, path=built)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "Begin", cwd=lab, path=built)
    assert len(code_digest(lab).split()) == 3
    assert "code/cohort.sha256" in (lab / "params.yaml").read_text(encoding="utf-8")
