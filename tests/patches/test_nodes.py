"""Patches cut on a cluster are those of one machine, also when a node dies in the middle."""

import pytest

from pipelines import patches
from tests.nodes import cluster, killed_in_the_middle, store_slowly
from tests.settings import content_of, write_settings
from wsss_mm.clusters import CLUSTER
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params

__all__ = ["cluster"]

SLIDES = {"a": "train", "b": "train", "c": "valid", "d": "test"}


@pytest.fixture
def params(tmp_path, monkeypatch, cohort, quarters):
    for name, split in SLIDES.items():
        cohort.add(name, split, truth=quarters)
    content = content_of("phantom")
    content["patches"] |= {"size": 128, "storage": "files"}
    content["segmenter"]["crop"] = 96
    write_settings(tmp_path, content)
    (tmp_path / "data").mkdir()
    cohort.folder.rename(tmp_path / "data/cohort")
    monkeypatch.chdir(tmp_path)
    return load_params()


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.leaves("Ray's core keeps sockets and its folder of sessions")
def test_a_node_dies(request, params, tmp_path, monkeypatch, capfd):
    patches.main(params)
    alone = _files(tmp_path / "data/patches")
    assert len(alone) == 2 * 12 * len(SLIDES) + 1

    nodes = request.getfixturevalue("cluster")
    monkeypatch.setenv(CLUSTER, nodes.address)
    monkeypatch.setattr(patches, "store_patch", store_slowly)
    with killed_in_the_middle(nodes.worker_nodes, "cut slides") as begin:
        begin()
        patches.main(params)
    assert _files(tmp_path / "data/patches") == alone
    assert not list((tmp_path / "work_dirs").iterdir())
    capfd.readouterr()

    (tmp_path / "data/cohort/truth/b.tif").write_bytes(b"no slide")
    with pytest.raises(InputError, match=r"^data/cohort/truth/b\.tif") as wrong:
        patches.main(params)
    monkeypatch.delenv(CLUSTER)
    with pytest.raises(InputError) as here:
        patches.main(params)
    assert str(here.value) == str(wrong.value)
    assert _files(tmp_path / "data/patches") == alone
