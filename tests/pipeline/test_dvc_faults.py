"""What DVC does when two run at once, a stage fails, or its cache rots, on which docs/reliability.md relies."""

import shlex
import shutil
import subprocess
import sys
import time

import pytest
import yaml

from scripts.mend_dvc import can_be_read
from tests import warm
from tests.settings import copy_profile
from wsss_mm.dvc_files import locked_entries

CONTENT = "made\n"
COMMAND = f"touch started && while [ ! -e go ]; do sleep 0.1; done && echo {CONTENT.strip()} > out"
STAGES = {"stages": {"make": {"cmd": COMMAND, "outs": ["out"]}}}


def dvc(root, *arguments):
    command = [warm.dvc(), *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def repository(tmp_path, project_root):
    """A repository with a stage, configured as the project is."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert dvc(tmp_path, "init", "-q").returncode == 0
    (tmp_path / ".dvc/config").write_bytes((project_root / ".dvc/config").read_bytes())
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    return tmp_path


def test_the_second_of_two_is_refused_and_the_first_is_undisturbed(repository):
    first = subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=repository, stdout=subprocess.DEVNULL)
    while not (repository / "started").exists():
        assert first.poll() is None
        time.sleep(0.05)
    second = dvc(repository, "repro")
    (repository / "go").touch()
    assert second.returncode == 255
    assert str(first.pid) in second.stderr
    assert first.wait() == 0
    assert (repository / "out").read_text() == CONTENT
    assert dvc(repository, "status", "-q").returncode == 0


def test_rot_in_the_cache_is_found_once_the_protection_is_off_and_made_again(repository):
    (repository / "go").touch()
    assert dvc(repository, "repro").returncode == 0
    (cached,) = (path for path in (repository / ".dvc/cache/files").rglob("*") if path.is_file())
    cached.chmod(0o644)
    cached.write_text("rot\n")
    cached.chmod(0o444)
    (repository / "out").unlink()
    assert dvc(repository, "checkout").returncode == 0
    assert (repository / "out").read_text() == "rot\n"  # DVC trusts what is protected

    subprocess.run(
        ["find", ".dvc/cache/files/md5", "-type", "f", "-exec", "chmod", "u+w", "{}", "+"], cwd=repository, check=True
    )
    (repository / "out").unlink()
    assert dvc(repository, "status").returncode == 0
    assert dvc(repository, "repro").returncode == 0
    assert (repository / "out").read_text() == CONTENT


@pytest.mark.parametrize("left", ["", '{"write": {"/a/b"'])
def test_a_kill_while_dvc_writes_its_table_of_locks_is_mended(repository, project_root, left):
    (repository / "go").touch()
    table = repository / ".dvc/tmp/rwlock"
    table.write_text(left)
    refused = dvc(repository, "repro")
    assert refused.returncode and "rwlock" in refused.stderr
    mend = [sys.executable, str(project_root / "scripts/mend_dvc.py")]
    subprocess.run(mend, cwd=repository, check=True)
    assert dvc(repository, "repro").returncode == 0
    whole = table.read_bytes()
    subprocess.run(mend, cwd=repository, check=True)
    assert table.read_bytes() == whole


@pytest.mark.parametrize("left", [b"", b"stages"])
def test_a_kill_while_dvc_writes_its_lock_file_is_mended(repository, project_root, left):
    (repository / "go").touch()
    assert dvc(repository, "repro").returncode == 0
    lock = repository / "dvc.lock"
    whole = lock.read_bytes()
    mend = [sys.executable, str(project_root / "scripts/mend_dvc.py")]
    subprocess.run(mend, cwd=repository, check=True)
    assert lock.read_bytes() == whole
    lock.write_bytes(whole[: whole.index(left) + len(left)])
    assert dvc(repository, "repro").returncode
    said = subprocess.run(mend, cwd=repository, check=True, capture_output=True, text=True).stderr
    assert "dvc.lock: was cut off, put back" in said
    assert lock.read_bytes() == whole
    again = dvc(repository, "repro")
    assert again.returncode == 0
    assert "up to date" in again.stdout


def test_wherever_a_lock_file_is_cut_off_nothing_false_is_taken(repository):
    """What is taken says of each file what the whole does: DVC takes an md5 of nothing, and keeps it."""
    stage = {"cmd": "cat a b > c", "deps": ["a", "b"], "params": ["p", "q"], "outs": ["c", "d"]}
    stage["cmd"] += " && mkdir d && cp a d"
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
    (repository / "params.yaml").write_text("p: 0.125\nq: {r: [x, y], s: 7}\n")
    for name in "ab":
        (repository / name).write_text(name)
    assert dvc(repository, "repro").returncode == 0
    stage = (repository / "dvc.lock").read_text()
    lock = repository / "cut.lock"
    whole = stage + stage[stage.index("  one:") :].replace("one:", "two:")
    said = {kind: locked_entries(whole, kind) for kind in ("deps", "outs")}
    lock.write_text(whole)
    assert can_be_read(lock)
    taken = 0
    for length in range(whole.index("two:"), len(whole)):
        lock.write_text(whole[:length])
        if can_be_read(lock):
            taken += 1
            assert whole[length - 1] == "\n"
            for kind, entries in said.items():
                found = locked_entries(whole[:length], kind)
                assert all(entries[path]["md5"] == entry["md5"] for path, entry in found.items())
    assert 0 < taken < whole.count("\n")


MODEL, STAGE = "models/segmenter", "train_segmenter"
TRAINING = f"""
from pathlib import Path
from pipelines.running import run_stage
from wsss_mm.files import atomic_folder, write_text

def main(params):
    with atomic_folder("{MODEL}") as folder:
        write_text(folder / "weights.pth", params.segmenter.loss)
        1 / (0 if Path("fail").exists() else 1)
    for path in ("reports/metrics/segmenter.json", "reports/plots/segmenter_curves.csv"):
        write_text(path, "made")

run_stage(main)
"""


@pytest.fixture
def line(repository, project_root, monkeypatch):
    """The stage of dvc.yaml that trains the segmenter, whose command makes a small model."""
    monkeypatch.setenv("PYTHONPATH", str(project_root))
    stage = yaml.safe_load((project_root / "dvc.yaml").read_text())["stages"][STAGE]
    stage["cmd"] = f"{shlex.quote(sys.executable)} beside/training.py"  # beside the empty files that stand for its code
    shutil.copytree(project_root / "vocabularies", repository / "vocabularies")
    shutil.copy(project_root / "encoders.yaml", repository)
    for dependency in stage["deps"]:
        path = repository / dependency.replace("${cohort.vocabulary}", "lung").replace("${segmenter.weights}", "None")
        path = path if path.suffix else path / "file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (repository / "beside").mkdir()
    (repository / "beside/training.py").write_text(TRAINING)
    copy_profile(repository)
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"vars": ["params.yaml"], "stages": {STAGE: stage}}))
    return repository


def outs(root):
    files = (path for name in (MODEL, "reports/metrics", "reports/plots") for path in (root / name).rglob("*"))
    return {path: path.read_bytes() for path in files if path.is_file() and path.name != ".gitignore"}


def test_a_stage_that_is_refused_or_fails_leaves_what_was_there(line):
    assert dvc(line, "repro").returncode == 0
    before = outs(line)
    params, text = line / "params.yaml", (line / "params.yaml").read_text()
    loss = yaml.safe_load(text)["segmenter"]["loss"]
    other = next(name for name in ("ce", "onss") if name != loss)
    assert text.count(f"  loss: {loss} ") == 1
    for name, failing in (("foo", False), (other, True)):
        params.write_text(text.replace(f"  loss: {loss} ", f"  loss: {name} "))
        if failing:
            (line / "fail").touch()
        assert dvc(line, "repro").returncode != 0
        assert outs(line) == before
        assert STAGE in dvc(line, "status").stdout
    (line / "fail").unlink()
    assert dvc(line, "repro").returncode == 0
    assert (line / MODEL / "weights.pth").read_text() == other
    assert [path.name for path in (line / MODEL).iterdir()] == ["weights.pth"]
    assert dvc(line, "status", "-q").returncode == 0


def test_every_out_of_a_stage_that_makes_something_persists(project_root):
    stages = yaml.safe_load((project_root / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])] if name != "gate" else ():
            ((path, options),) = out.items()
            assert options["persist"], path
