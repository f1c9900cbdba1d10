"""A cluster does what one machine does, also when a node dies: each slide once, the same bytes."""

import sys
import time

import psutil
import pytest
import tifffile

from wsss_mm.cli.main import main
from wsss_mm.errors import BusyError, InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.places import SUMMARY
from wsss_mm.slide_parameters import Parameters
from wsss_mm.wsi import SlideModel
from wsss_mm.wsi import cluster as cluster_module
from wsss_mm.wsi.cluster import Demand, segment_on_cluster
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.segment import segment

SLIDES = 4
PARAMETERS = Parameters(window=64, overlap=0.75, min_island=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory, project_root):
    """An untrained segmenter, as narrow as can be."""
    import torch
    from mmengine.config import Config

    from wsss_mm.models import build_network, save_model

    network = Config.fromfile(project_root / "mmconfigs/segmenter.py").model.to_dict()
    network["backbone"]["width"] = 1 / 32
    for head, inputs in (("decode_head", 128), ("auxiliary_head", 32)):
        network[head] |= {"in_channels": inputs, "channels": 8, "num_classes": 4}
    torch.manual_seed(0)
    classes = [vars(item) | {"color": list(item.color)} for item in VOCABULARIES["lung"].classes]
    info = {"kind": "segmenter", "classes": classes, "mpp": 1.0, "size": 64, "width": 1 / 32, "model": network}
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, state=build_network(network).state_dict(), info=info, config_text="", card="")
    return folder


@pytest.fixture
def slides(tmp_path, tissue):
    paths = [tmp_path / f"s{seed}.tiff" for seed in range(SLIDES)]
    for seed, path in enumerate(paths):
        tifffile.imwrite(path, tissue(320, 400, seed), tile=(64, 64), photometric="rgb", metadata=None)
    return paths


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each, of which the first keeps the books; on loopback."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}.items():
        monkeypatch.setenv(name, value)
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(services, "get_node_ip_address", lambda *_: "127.0.0.1")  # or the driver looks elsewhere
    node = {"node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20, "include_dashboard": False}
    # A node is given up when five requests failed, five times a second: at once where it is dead, and where it is
    # busy it answers within the 10 s of one. Ray's own pause is 3 s, after 5 s.
    often = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200}
    head = {**node, "num_cpus": 1, "_system_config": often}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    cluster.add_node(**node, num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_without_ray(tmp_path, monkeypatch, capsys, slides, model):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["segment", str(slides[0]), "--model", str(model), "--out", str(tmp_path / "out"), "--ray", "auto"]
    assert main(command) == 2
    assert "pip install -e '.[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1", "nowhere:port"])
def test_no_cluster(address, model):
    with pytest.raises(InputError, match=rf"--ray {address}: no cluster there"):
        next(segment_on_cluster([], model, address))


def test_a_folder_still_held_is_waited_for(monkeypatch, tmp_path):
    """The process of a node that is being given up lets go of it a little later."""
    answers = [BusyError("at work"), BusyError("at work"), {"tissue_area_mm2": 1.0}]

    def later(*_, **__):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(cluster_module, "segment", later)
    monkeypatch.setattr(cluster_module, "_worker_model", lambda *_: None)
    monkeypatch.setattr(cluster_module, "_LOCK_PAUSE", 0)
    job = Job("a", tmp_path / "a.svs", tmp_path)
    result = cluster_module._segment(job, [None], Demand(), PARAMETERS, {})
    assert (result.slide_id, result.summary, result.error) == ("a", {"tissue_area_mm2": 1.0}, "")


@pytest.mark.slow
@pytest.mark.leaves("Ray's core keeps sockets and its folder of sessions")
def test_a_node_dies(cluster, slides, model, tmp_path):
    """Half the slides are done when one of two nodes is killed in the middle of one."""
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide" * 100)
    for demand, words in ((Demand(cpus=2), "2 cores"), (Demand(gpus=1), "1 GPUs"), (Demand(gpus=1.5), "whole GPUs")):
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
            killed = _kill_in_the_middle(cluster.worker_nodes)
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


def _kill_in_the_middle(nodes):
    """End a node as a power cut would, while it works on a slide."""
    for _ in range(1000):
        for node in nodes:
            (raylet,) = node.all_processes["raylet"]
            family = psutil.Process(raylet.process.pid)
            processes = family.children(recursive=True)
            if any("_segment" in " ".join(process.cmdline()) for process in processes if process.is_running()):
                for process in [family, *processes]:
                    process.kill()
                return True
        time.sleep(0.01)
    return False
