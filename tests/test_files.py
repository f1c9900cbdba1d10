import errno
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, atomic_path, digest, read_json, rounded, sampled_digest, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


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
    left = tmp_path / ".out.killed"
    left.mkdir()
    (left / "half").touch()
    with atomic_folder(tmp_path / "out") as first:
        assert not left.exists()
        with atomic_folder(tmp_path / "out"):
            assert first.is_dir()
        (first / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_json_with_half_a_surrogate_pair_is_refused_and_a_whole_one_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"name": "\\ud83d\\ude00"}')
    assert read_json(path) == {"name": "\U0001f600"}
    path.write_text('{"name": "\\uD800"}')
    with pytest.raises(ValueError, match="surrogates not allowed"):
        read_json(path)


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
