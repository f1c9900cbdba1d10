import pytest

from wsss_mm.engine.workdir import fingerprint, work_folder


class TestFingerprint:
    def test_params_contents_and_names_count_places_do_not(self, tmp_path):
        for name in ("one", "two"):
            (tmp_path / name / "sub").mkdir(parents=True)
            (tmp_path / name / "sub" / "a.txt").write_text("a")
        first = fingerprint({"lr": 0.1}, [tmp_path / "one"])
        assert first == fingerprint({"lr": 0.1}, [tmp_path / "two"])
        assert first != fingerprint({"lr": 0.2}, [tmp_path / "one"])
        (tmp_path / "two" / "sub" / "a.txt").write_text("b")
        assert first != fingerprint({"lr": 0.1}, [tmp_path / "two"])
        (tmp_path / "one" / "sub" / "a.txt").rename(tmp_path / "one" / "sub" / "b.txt")
        assert first != fingerprint({"lr": 0.1}, [tmp_path / "one"])

    def test_compiled_python_does_not_count(self, tmp_path):
        (tmp_path / "a.py").write_text("1")
        before = fingerprint({}, [tmp_path])
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"x")
        assert fingerprint({}, [tmp_path]) == before


def test_kept_after_a_crash_removed_after_success(tmp_path):
    with pytest.raises(RuntimeError), work_folder("train", "key", tmp_path) as folder:
        (folder / "checkpoint.pth").write_text("half")
        raise RuntimeError
    with work_folder("train", "key", tmp_path) as again:
        assert (again / "checkpoint.pth").read_text() == "half"
    assert not again.exists()
