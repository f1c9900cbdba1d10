"""What the stages make on a cluster is what they make on one machine, also when a node dies in the middle of each."""

import shutil

import pytest

from pipelines import export_slides, patches, pseudo_labels, segment_slides
from tests.networks import make_classifier, make_segmenter
from tests.nodes import cluster, export_slowly, killed_in_the_middle, map_slowly, store_slowly, write_slowly
from tests.patches.conftest import cohort, quarters
from tests.settings import content_of, write_settings
from wsss_mm import places
from wsss_mm.cam import nodes
from wsss_mm.choosing import Choice, write_choice
from wsss_mm.clusters import CLUSTER
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params

__all__ = ["cluster", "cohort", "quarters"]

SLIDES = {"a": "train", "b": "train", "c": "valid", "d": "test"}
SLOWED = {  # by the name of the tasks, what takes so long in them that there is a middle
    "cut slides": (patches, "store_patch", store_slowly),
    "pseudo-labels": (pseudo_labels, "write_label", write_slowly),
    "segment slides": (segment_slides, "map_slide", map_slowly),
    "export slides": (export_slides, "export_slide", export_slowly),
}


@pytest.fixture
def params(tmp_path, monkeypatch, cohort, quarters):
    """A project with slides and networks, before the first stage."""
    for name, split in SLIDES.items():
        cohort.add(name, split, truth=quarters)
    content = content_of("phantom") | {"threads": 1}
    content["patches"] |= {"size": 128, "storage": "files"}
    content["segmenter"]["crop"] = 96
    content["slides"] |= {"splits": sorted(set(SLIDES.values())), "window": 96}
    write_settings(tmp_path, content)
    (tmp_path / "data").mkdir()
    cohort.folder.rename(tmp_path / "data/cohort")
    monkeypatch.chdir(tmp_path)
    make_classifier(tmp_path, size=128)
    make_segmenter(tmp_path / places.SEGMENTER)
    write_choice(places.CHOICE_FILE, Choice(content["pseudo_labels"], content["pseudo_labels"], "params", "by hand"))
    return load_params()


def _files():
    """All that stages have made."""
    return {
        path: path.read_bytes()
        for folder in ("data", "reports", "results")
        for path in places.WORK.absolute().parent.joinpath(folder).rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.leaves("Ray's core keeps sockets and its folder of sessions")
def test_a_node_dies(request, params, tmp_path, monkeypatch, capfd):
    made = [tmp_path / path for path in (places.PATCHES, places.PSEUDO_LABELS, places.MAPS, places.RESULTS)]
    for module, _, _ in SLOWED.values():
        module.main(params)
    alone = _files()
    assert [sum(path.is_relative_to(folder) for path in alone) for folder in made[:3]] == [97, 25, 8]

    machines = request.getfixturevalue("cluster")
    monkeypatch.setenv(CLUSTER, machines.address)
    monkeypatch.setattr(nodes, "TASK_SIZE", 16)
    for (task, (module, name, slowly)), folder in zip(SLOWED.items(), made, strict=True):
        shutil.rmtree(folder)
        monkeypatch.setattr(module, name, slowly)
        with killed_in_the_middle(machines, task):
            module.main(params)
        assert _files() == alone, task
    assert not list(places.WORK.iterdir())
    capfd.readouterr()

    (tmp_path / "data/cohort/truth/b.tif").write_bytes(b"no slide")
    with pytest.raises(InputError, match=r"^data/cohort/truth/b\.tif") as wrong:
        patches.main(params)
    monkeypatch.delenv(CLUSTER)
    with pytest.raises(InputError) as here:
        patches.main(params)
    assert str(here.value) == str(wrong.value)
