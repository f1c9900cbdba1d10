"""The same patches by themselves and in shards."""

import numpy as np

from benchmarks import patch_storage
from benchmarks.command import settings
from wsss_mm.patches.images import read_image
from wsss_mm.patches.shards import any_packed, pack_files, stored_digest


def test_all_patches_are_different_files(tmp_path):
    rows = patch_storage.fill(tmp_path, 40, 16)
    digests = [stored_digest(tmp_path / path) for path in rows["path"]]
    images = [read_image(tmp_path / path) for path in rows["path"]]
    assert len(set(digests)) == len(rows) == 40
    moved = pack_files(rows, tmp_path, ("path",))
    assert any_packed(moved["path"])
    assert [stored_digest(tmp_path / path) for path in moved["path"]] == digests
    np.testing.assert_array_equal(images, [read_image(tmp_path / path) for path in moved["path"]])


def test_rows_compare_shards_with_files(monkeypatch):
    def run(project):
        assert any(project.patches.rglob("*.tar" if project.root.name == "shards" else "*.png"))
        return {"dvc add": (1.0, 3.0) if project.root.name == "shards" else (2.0, 4.0)}

    monkeypatch.setattr(patch_storage.Project, "run", run)
    monkeypatch.setattr(patch_storage.Project, "dvc", lambda *_: (0.0, 0.0))
    options = settings(patch_storage.OPTIONS, quick=True, patches=20, side=16, reads=10)
    reading, cpu, wall = patch_storage.measure(options)
    assert reading.what == "reading a patch at random, 20 patches of 16 px in shards"
    assert reading.at_most == 1.05
    assert (cpu.what, cpu.row()["ratio"]) == ("dvc add, 20 patches of 16 px in shards, CPU", 0.5)
    assert wall.row()["ratio"] == 0.75
