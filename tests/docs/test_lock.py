"""requirements.lock names a version and the hashes of every package, and no place to get it from."""

import re

import pytest

_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")
_PIN = re.compile(r"[a-z0-9-]+==[^\s=]+( ; .+)?")


@pytest.fixture(scope="module")
def lock(project_root):
    """Hashes by pin."""
    text = (project_root / "requirements.lock").read_text(encoding="utf-8")
    found = {}
    for entry in text.replace(" \\\n    --hash", "\n    --hash").splitlines():
        if entry[:1].strip():
            found[entry] = []
        else:
            found[list(found)[-1]].append(entry)
    return found


def test_every_package_is_pinned_and_has_hashes(lock):
    assert len(lock) > 200
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
