"""A cluster does what one machine does, also when a node dies: each slide once, the same bytes."""

import sys

import pytest
import tifffile

from tests.networks import make_segmenter
from tests.nodes import cluster, kill_in_the_middle
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.places import SUMMARY
from wsss_mm.slide_parameters import Parameters
from wsss_mm.wsi import SlideModel
from wsss_mm.wsi.cluster import SlideDemand, segment_on_cluster
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.segment import segment

__all__ = ["cluster"]

SLIDES = 4
PARAMETERS = Parameters(window=64, overlap=0.75, min_island=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_segmenter(tmp_path_factory.mktemp("model"))


@pytest.fixture
def slides(tmp_path, tissue):
    paths = [tmp_path / f"s{seed}.tiff" for seed in range(SLIDES)]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, tissue(320, 400, seed), tile=(64, 64), photometric="rgb", metadata=None)
    return paths


def test_without_ray(tmp_path, monkeypatch, capsys, slides, model):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["segment", str(slides[0]), "--model", str(model), "--out", str(tmp_path / "out"), "--ray", "auto"]
    assert main(command) == 2
    assert "pip install -e '.[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1", "nowhere:port"])
def test_no_cluster(address, model):
    with pytest.raises(InputError, match=rf"--ray {address}: no cluster there"):
        next(segment_on_cluster([], model, address))


@pytest.mark.slow
@pytest.mark.leaves("Ray's core keeps sockets and its folder of sessions")
def test_a_node_dies(cluster, slides, model, tmp_path):
    """Half the slides are done when one of two nodes is killed in the middle of one."""
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide" * 100)
    for demand, words in (
        (SlideDemand(cpus=2), "2 cores"),
        (SlideDemand(gpus=1), "1 GPUs"),
        (SlideDemand(gpus=1.5), "whole GPUs"),
    ):
        with pytest.raises(InputError, match=words):
            next(segment_on_cluster([], model, cluster.address, demand))

    folders = {path: tmp_path / "out" / path.stem for path in [*slides, bad]}
    jobs = [Job(path.stem, path, folder, 1.0) for path, folder in folders.items()]
    results, deliveries, killed = [], {path: set() for path in slides}, False
    for result in segment_on_cluster(jobs, model, cluster.address, parameters=PARAMETERS, skip_done=True):
        results.append(result)
        for path in slides:
            deliveries[path] |= _version(folders[path])
        if not killed and sum(map(len, deliveries.values())) >= SLIDES // 2:
            killed = kill_in_the_middle(cluster.worker_nodes, "segment")
    assert killed

    assert sorted(result.slide_id for result in results) == sorted(job.slide_id for job in jobs)
    (failed,) = (result for result in results if result.summary is None)
    assert failed.slide_id == "bad"
    assert "bad.svs" in failed.error
    assert not folders[bad].exists()
    same = SlideModel.from_folder(model)
    for path in slides:
        assert deliveries[path] | _version(folders[path]) == _version(folders[path]), "delivered more than once"
        alone = tmp_path / "alone" / path.stem
        segment(Job(path.stem, path, alone, 1.0), same, PARAMETERS, progress=False)
        for name in FILES:
            assert (folders[path] / name).read_bytes() == (alone / name).read_bytes(), (path, name)

    delivered = [_version(folders[path]) for path in slides]
    command = ["--quiet", "segment", *map(str, slides), "--out", str(tmp_path / "out"), "--model", str(model)]
    command += ["--ray", cluster.address, "--mpp", "1", "--window", "64", "--overlap", "0.75", "--min-island", "0"]
    assert main(command) == 0
    assert [_version(folders[path]) for path in slides] == delivered, "what was done is done again"


def _version(folder):
    """What tells a delivery from a later one."""
    try:
        state = (folder / SUMMARY).stat()
    except FileNotFoundError:
        return set()
    return {(state.st_ino, state.st_mtime_ns)}
