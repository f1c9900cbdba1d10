"""The locks name a version and the hashes of every package, and no place to get it from."""

import re
import shutil
import subprocess
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")
_PIN = re.compile(r"[a-z0-9-]+==[^\s=]+( ; .+)?")


_SERVER = {"python_version": "3.11", "python_full_version": "3.11.13", "sys_platform": "linux", "extra": ""}


@pytest.fixture(scope="module")
def lock(project_root):
    return pins(project_root / "requirements.lock")


@pytest.fixture(scope="module")
def server_lock(project_root):
    return pins(project_root / "deploy/requirements.lock")


def pins(path):
    """Hashes by pin."""
    text = path.read_text(encoding="utf-8")
    found = {}
    for entry in text.replace(" \\\n    --hash", "\n    --hash").splitlines():
        if entry[:1].strip():
            found[entry] = []
        else:
            found[list(found)[-1]].append(entry)
    return found


LOCKS = {"requirements": 200, "deploy/requirements": 80, "requirements-docs": 15, "requirements-audit": 30}


@pytest.mark.parametrize(("name", "at_least"), [(f"{name}.lock", least) for name, least in LOCKS.items()])
def test_every_package_is_pinned_and_has_hashes(project_root, name, at_least):
    lock = pins(project_root / name)
    assert len(lock) > at_least
    assert [pin for pin in lock if not _PIN.fullmatch(pin)] == []
    assert [pin for pin, hashes in lock.items() if not hashes or not all(map(_HASH.fullmatch, hashes))] == []


def test_torch_is_left_to_each_machine(lock, project_root):
    names = {re.split(r"[ =;]", pin)[0] for pin in lock}
    assert [name for name in names if re.match(r"torch$|torchvision|nvidia-|cuda-|triton", name)] == []
    assert re.search(r"^torch==\S+$", (project_root / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements.in", "requirements-dev.in"])
def test_all_that_is_asked_for_is_in_it(lock, project_root, name):
    lines = (project_root / name).read_text(encoding="utf-8").splitlines()
    asked = {re.split(r"[\[=<> ]", line)[0].replace(".", "-") for line in lines if line[:1].isalpha()}
    assert asked - {re.split(r"[ =;]", pin)[0] for pin in lock} - {"torch"} == set()


def test_what_sets_up_asks_for_the_hashes(project_root):
    assert "--require-hashes -r requirements.lock" in (project_root / "scripts/setup.sh").read_text(encoding="utf-8")


def test_the_containers_lock_has_the_versions_and_hashes_of_the_other(lock, server_lock):
    """Those for the Python of the container."""
    of_line = {pin.partition(" ;")[0]: hashes for pin, hashes in lock.items() if at_the_server(pin)}
    of_server = {pin.partition(" ;")[0]: hashes for pin, hashes in server_lock.items() if at_the_server(pin)}
    assert {pin: hashes for pin, hashes in of_server.items() if of_line.get(pin) != hashes} == {}


def at_the_server(pin):
    marker = Requirement(pin).marker
    return marker is None or marker.evaluate(_SERVER)


def test_the_containers_lock_is_complete(server_lock, project_root):
    """The container installs it without dependencies: all that is asked for, and what those ask for, is in it."""
    asked = (project_root / "deploy/requirements.in").read_text(encoding="utf-8").splitlines()
    waiting = [Requirement(line) for line in asked if line[:1].isalpha()]
    assert {item.name for item in waiting} == {"mlflow", "psycopg2-binary", "boto3"}
    names = set()
    while waiting:
        item = waiting.pop()
        if (name := canonicalize_name(item.name)) in names and not item.extras:
            continue
        names.add(name)
        for text in metadata.requires(item.name) or []:
            further = Requirement(text)
            environments = [{**_SERVER, "extra": extra} for extra in (item.extras or {""})]
            if further.marker is None or any(map(further.marker.evaluate, environments)):
                waiting.append(further)
    assert names - {canonicalize_name(Requirement(pin).name) for pin in server_lock if at_the_server(pin)} == set()


def test_the_container_asks_for_the_hashes_on_the_python_of_its_lock(project_root):
    text = (project_root / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert [line for line in re.findall(r"pip install.*", text) if "--no-deps --require-hashes -r" not in line] == []
    assert "COPY deploy/requirements.lock" in text
    assert re.findall(r"FROM python:(\d+\.\d+)", text) == [_SERVER["python_version"]]
    script = (project_root / "scripts/lock.sh").read_text(encoding="utf-8")
    assert f"deploy/requirements.lock --python-version {_SERVER['python_version']} " in script


_UV = """\
#!/bin/bash
echo "$@" >>SEEN/arguments
set -e
while [[ $1 != --output-file ]]; do shift; done
cat "$2" >>SEEN/kept
cat SEEN/answer >"$2"
"""


@pytest.fixture
def locking(tmp_path, project_root):
    """scripts/lock.sh in a project of its own, with a `uv` that writes its answer and keeps what it was given."""
    for name in ("scripts/lock.sh", "requirements-dev.in", "deploy/requirements.in"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(project_root / name, tmp_path / name)
    uv, python = tmp_path / "uv", tmp_path / "python"
    uv.write_text(_UV.replace("SEEN", str(tmp_path / "seen")))
    python.write_text(f'#!/bin/bash\nmkdir -p "$3/bin"; cp {uv} "$3/bin/uv"; cp "$(type -P true)" "$3/bin/pip"\n')
    uv.chmod(0o755)
    python.chmod(0o755)
    (tmp_path / "seen").mkdir()

    def run(*arguments):
        command = ["bash", "scripts/lock.sh", *arguments]
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


_OLD = """\
flask==3.1.0 ; python_full_version < '3.11' \\
    --hash=sha256:0bad \\
    --hash=sha256:1bad
six==1.17.0 \\
    --hash=sha256:2bad
"""
_ANSWER = """\
flask==3.1.0 \\
    --hash=sha256:0a \\
    --hash=sha256:0b
nvidia-cublas==13.0 \\
    --hash=sha256:1a
opencv-python==4.11 \\
    --hash=sha256:1b
pywin32==312 ; sys_platform == 'win32' \\
    --hash=sha256:1c
six==1.17.0 \\
    --hash=sha256:2a
"""
_NEW = "flask==3.1.0 \\\n    --hash=sha256:0a \\\n    --hash=sha256:0b\nsix==1.17.0 \\\n    --hash=sha256:2a\n"


def test_locking_keeps_versions_and_fetches_hashes_anew(locking, tmp_path):
    for name in ("requirements.lock", "deploy/requirements.lock"):
        (tmp_path / name).write_text(_OLD)
    (tmp_path / "seen/answer").write_text(_ANSWER)
    done = locking("--upgrade")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "seen/kept").read_text() == "flask==3.1.0 ; python_full_version < '3.11'\nsix==1.17.0\n" * 2
    assert [(tmp_path / name).read_text() for name in ("requirements.lock", "deploy/requirements.lock")] == [_NEW] * 2
    line, server = (tmp_path / "seen/arguments").read_text().splitlines()
    assert "--upgrade" in line
    assert "--constraint" in server
    assert "--generate-hashes" in line
    assert "--generate-hashes" in server


def test_a_lock_that_cannot_be_made_leaves_both_as_they_were(locking, tmp_path):
    for name in ("requirements.lock", "deploy/requirements.lock"):
        (tmp_path / name).write_text(_OLD)
    assert locking().returncode != 0
    assert [(tmp_path / name).read_text() for name in ("requirements.lock", "deploy/requirements.lock")] == [_OLD] * 2
    assert sorted(path.name for path in tmp_path.rglob("*.new")) == []
