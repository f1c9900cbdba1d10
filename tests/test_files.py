import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import BusyError, InputError
from wsss_mm.files import (
    atomic_folder,
    atomic_path,
    digest,
    locked,
    read_json,
    remove_unfinished,
    rounded,
    sampled_digest,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_new_folder_is_not_taken_for_what_a_killed_process_left(tmp_path, monkeypatch):
    """Another who begins to write it tidies up first."""
    make, others = Path.mkdir, []

    def write(content):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / "a.txt").write_text(content)

    def overtaken(self, *args, **kwargs):
        make(self, *args, **kwargs)
        if not others and self.name.startswith(".model."):
            others.append(threading.Thread(target=write, args=("other",)))
            others[0].start()
            others[0].join(0.2)

    monkeypatch.setattr(Path, "mkdir", overtaken)
    write("own")
    others[0].join()
    assert (tmp_path / "model/a.txt").read_text() in ("own", "other")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_json_is_the_same_for_the_same_content(tmp_path):
    write_json(tmp_path / "a.json", {"b": np.float32(0.5), "a": (1, np.int64(2)), "n": float("nan")})
    write_json(tmp_path / "b.json", {"n": None, "a": [1, 2], "b": 0.50000001})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2], "b": 0.5, "n": None}


def test_what_a_person_wrote_is_not_rounded_and_what_was_measured_is(tmp_path):
    written = {"lr": 5e-7, "eps": 1e-8, "mpp": 0.2527, "huge": 1e300, "area": 12345678.5, "none": 0.0}
    assert rounded(written) == written
    assert rounded({"miou": 1 / 3, "noise": 0.1 + 0.2 - 0.3, "np": np.float32(0.1)}) == {
        "miou": 0.333333,
        "noise": 0.0,
        "np": 0.1,
    }
    write_json(tmp_path / "a.json", {"params": {"lr": 1e-7 / 3}, "loss": 1e-7 / 3}, exact=("params",))
    assert read_json(tmp_path / "a.json") == {"params": {"lr": 1e-7 / 3}, "loss": 0.0}


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_infinity=False) | st.text(), st.lists, max_leaves=20))
def test_rounding_twice_is_rounding_once_and_json_keeps_it(value):
    once = rounded(value)
    assert rounded(once) == once
    assert json.loads(json.dumps(once)) == once


def test_digest_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(content)
    assert digest(tmp_path / "file", "md5") == hashlib.md5(content).hexdigest()


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with atomic_folder(target) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def _folder(path, name):
    path.mkdir(parents=True)
    (path / name).touch()
    return path


class Kill(BaseException):
    """A process that is killed: nothing of what follows is done."""


STEPS = ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"))
STEPS += tuple((Path, name) for name in ("mkdir", "rename", "unlink", "rmdir") if sys.version_info < (3, 11))


def interrupted(monkeypatch, target, step, error):
    """Replace a folder and let a change of the disk fail, the first or a later one; whether there were so many."""
    count = 0

    def counted(change):
        def changing(*args, **kwargs):
            nonlocal count
            count += 1
            if count == step or (count > step and error is Kill):
                raise error() if error is Kill else error(errno.EIO, "the disk is old")
            return change(*args, **kwargs)

        return changing

    with monkeypatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            with atomic_folder(target) as temporary:
                fill(temporary, "new")
        except (OSError, Kill):
            assert count >= step
            return True
    return count >= step


def fill(folder, content):
    """Files of a folder; the last one is no file of the other folder."""
    for name in ("a.txt", "b/c.txt", f"{content}.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def held_by(folder):
    """What all files of a folder hold, if they are all of one."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    (content,) = {path.read_text() for path in files}
    assert {path.name for path in files} == {"a.txt", "c.txt", f"{content}.txt"}
    return content


@pytest.mark.parametrize("link", ["", "data", "data/patches"])
@pytest.mark.parametrize("error", [Kill, OSError])
def test_whatever_step_fails_a_folder_is_whole_old_or_new(tmp_path, monkeypatch, error, link):
    """Killed at any change of the disk, or with one that fails; also where a link leads to another disk."""
    for step in count(1):
        root = tmp_path / str(step)
        target = root / "data/patches"
        if link:
            real = root / "disk" / Path(link).name
            real.mkdir(parents=True)
            (root / link).parent.mkdir(exist_ok=True, parents=True)
            (root / link).symlink_to(real)
        target.mkdir(parents=True, exist_ok=True)
        fill(target, "old")
        if not interrupted(monkeypatch, target, step, error):
            break
        if error is OSError:
            assert held_by(target) in ("old", "new")  # at once
        with pytest.raises(RuntimeError), atomic_folder(target):  # a stage that is run again, and fails
            raise RuntimeError
        assert held_by(target) in ("old", "new")
        with atomic_folder(target) as temporary:
            fill(temporary, "newest")
        assert held_by(target) == "newest"
        assert not link or (root / link).is_symlink()
        left = {path.name for path in root.rglob("*")} - {"data", "disk", "patches", "a.txt", "b", "c.txt"}
        assert left == {"newest.txt"}
    assert step > 8


def test_a_folder_that_was_deleted_in_part_is_not_put_back(tmp_path, monkeypatch):
    """Killed while the old one was deleted; DVC removes the new one, as it does before each run."""
    target = _folder(tmp_path / "out", "old")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as temporary:
        (temporary / "new").touch()
    monkeypatch.undo()
    shutil.rmtree(target)
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_beside_it_stay(tmp_path):
    for name in (".out.backup", ".out.before", ".out.v2", ".outside.0123abcd", "out.0123abcd"):
        (tmp_path / name).mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert len(list(tmp_path.iterdir())) == 6


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    target = _folder(tmp_path / "out", "old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write everything
    with pytest.raises(InputError, match=r"out: no permission to write"), atomic_folder(target):
        pytest.fail("worked")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


WRITER = """
import sys
from pathlib import Path
from wsss_mm.files import locked, write_text
path = Path(sys.argv[1])
for index in range(100):
    with locked(path):
        write_text(path, path.read_text() + f"{sys.argv[2]}-{index}\\n")
"""


def test_ten_writers_lose_nothing_in_a_hundred_rounds_and_leave_no_lock(tmp_path, project_root):
    (tmp_path / "list.txt").touch()
    environment = os.environ | {"PYTHONPATH": str(project_root)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "list.txt"), str(name)], env=environment)
        for name in range(10)
    ]
    assert [writer.wait() for writer in writers] == [0] * 10
    lines = (tmp_path / "list.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"{name}-{index}" for name in range(10) for index in range(100))
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_a_lock_is_open_to_other_users_and_what_one_left_is_no_hindrance(tmp_path):
    before = os.umask(0o077)
    try:
        (tmp_path / ".left.lock").touch(mode=0o666)
        with locked(tmp_path / "left"), locked(tmp_path / "a"):
            assert stat.S_IMODE((tmp_path / ".a.lock").stat().st_mode) == 0o666
            with pytest.raises(BusyError, match="a: busy"), locked(tmp_path / "a", busy="a: busy"):
                pytest.fail("held")
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_folder_that_may_not_be_written_is_one_line(tmp_path, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, "no", str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(InputError, match=r"list\.csv: no permission to write"), locked(tmp_path / "list.csv"):
        pytest.fail("held")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_line(number, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"list\.csv: the file system gives no locks"), locked(tmp_path / "list.csv"):
        pytest.fail("held")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
    ],
)
def test_a_write_that_cannot_be_done_names_the_file_and_the_remedy(number, words, tmp_path, monkeypatch):
    target = tmp_path / "out.json"
    target.write_text("old")

    def full(self, text, **_):
        with self.open("w") as stream:
            stream.write(text[:1])
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match=rf"out\.json: .*{words}"):
        write_json(target, {"a": 1})
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_an_input_that_may_not_be_read_is_not_called_unwritable(tmp_path):
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path.parent / "elsewhere" / "slide.svs"))


def test_what_killed_processes_left_of_a_folder_is_removed_and_what_is_at_work_stays(tmp_path):
    left = tmp_path / ".out.0123abcd"
    left.mkdir()
    (left / "half").touch()
    with atomic_folder(tmp_path / "out") as first:
        assert not left.exists()
        with atomic_folder(tmp_path / "out"):
            assert first.is_dir()
        (first / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


@pytest.mark.parametrize("digits", [20, 21, 309, 4000])
@pytest.mark.parametrize("text", ["{}", "-{}", '{{"size": [{}, 1]}}', '[1.5, {{"a": {}}}]'])
def test_json_with_whole_numbers_that_no_calculation_takes_is_refused(tmp_path, digits, text):
    path = tmp_path / "a.json"
    path.write_text(text.format("9" * digits))
    with pytest.raises(ValueError, match="is a whole number of more than 64 bits"):
        read_json(path)


def test_json_with_long_numbers_that_are_none_of_these_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(f'[{2**64 - 1}, {-(2**63)}, 0.{"1" * 300}, "{"9" * 400}", {"9" * 30}.5]')
    assert read_json(path) == [2**64 - 1, -(2**63), 1 / 9, "9" * 400, 1e30]


def test_json_with_half_a_surrogate_pair_is_refused_and_a_whole_one_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"name": "\\ud83d\\ude00"}')
    assert read_json(path) == {"name": "\U0001f600"}
    path.write_text('{"name": "\\uD800"}')
    with pytest.raises(ValueError, match="surrogates not allowed"):
        read_json(path)


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002, 0o022])
def test_the_umask_decides_who_may_read_and_write(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        write_json(tmp_path / "a.json", {"again": 1})
        for _ in range(2):
            with atomic_folder(tmp_path / "folder") as temporary:
                write_json(temporary / "b.json", {})
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a.json": 0o666 & ~mask, "b.json": 0o666 & ~mask, "folder": 0o777 & ~mask}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_json_of_any_editor_is_read(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "M\u00fcller"}'.encode(encoding))
    assert read_json(path) == {"name": "M\u00fcller"}


@pytest.mark.parametrize("place", [0, 1_000_000, 2_999_999])
def test_a_sampled_digest_sees_the_size_and_all_over_the_file(tmp_path, place):
    content = bytearray(3_000_000)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "longer").write_bytes(content + b"\0")
    content[place : place + 100_000] = b"x" * len(content[place : place + 100_000])
    (tmp_path / "b").write_bytes(content)
    (tmp_path / "empty").touch()
    digests = {sampled_digest(tmp_path / name) for name in ("a", "b", "longer", "empty")}
    assert len(digests) == 4
    assert sampled_digest(tmp_path / "a") in digests


def test_what_killed_writers_left_is_removed(tmp_path):
    kept = {"a.png", ".a.png", "a.12345678.png", ".a.1234567.png"}
    for folder in (tmp_path, tmp_path / "images/train"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*kept, ".a.12345678.png", ".a-0-256.0123abcd", ".a.b.0123abcd.tif"):
            (folder / name).touch()
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == kept
