"""Several processes are one: the same batches, gradients, curves and artefacts."""

import csv
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests import warm
from wsss_mm.datasets import SeededSampler
from wsss_mm.engine import processes
from wsss_mm.engine.processes import batch_per_process
from wsss_mm.errors import InputError
from wsss_mm.models import load_model
from wsss_mm.models.members import load_classifiers

LAUNCH = ["-c", "from torch.distributed.run import main; main()", "--standalone", "--nproc-per-node", "2"]
"""torchrun, in a process that has the libraries."""

TRAIN = """
import json, sys
from pathlib import Path
from torch import nn
nn.Dropout2d.forward = lambda self, x: x  # the masks of two processes are not those of one
nn.BatchNorm2d.train = lambda self, mode=True: nn.Module.train(self, False)  # nor are statistics of half a batch
from wsss_mm.engine import Paths, join_processes, train_classifier, train_classifiers, train_segmenter
from wsss_mm.settings import Params
rank = join_processes()
for job in sys.argv[1:]:
    content = json.loads(Path(job).read_text())
    paths = Paths(**{name: Path(value) for name, value in content["paths"].items()})
    params = Params.model_validate(content["params"])
    train = {"classifier": train_classifier, "segmenter": train_segmenter}[content["kind"]]
    if params.classifier.members > 1:
        train = train_classifiers
    metrics = train(params, paths)
    Path(job).with_name(f"metrics-{rank}.json").write_text(json.dumps(metrics))
"""

KINDS = ("classifier", "segmenter")


def job_of(kind, folder, cohort, params, project_root):
    """The file that tells `TRAIN` what to train."""
    settings = getattr(params, kind).model_copy(update={"optimizer": "sgd", "lr": 0.01, "averaging": 0.9})
    content = params.model_copy(update={kind: settings}).model_dump(mode="json", by_alias=True)
    folder.mkdir(parents=True)
    places = {"patches": cohort / "patches", "pseudo_labels": cohort / "pseudo_labels", "out": folder / "model"}
    places |= {"curves": folder / "curves.csv", "work": folder / "work", "configs": project_root / "mmconfigs"}
    job = {"kind": kind, "params": content, "paths": {key: str(value) for key, value in places.items()}}
    (folder / "job.json").write_text(json.dumps(job))
    return str(folder / "job.json")


@pytest.fixture(scope="module")
def two(cohort, params, project_root, tmp_path_factory):
    """A folder a kind, of what two processes trained: they start once, and train both."""
    root = tmp_path_factory.mktemp("two")
    jobs = [job_of(kind, root / kind, cohort, params, project_root) for kind in KINDS]
    several = params.classifier.model_copy(update={"members": 2, "epochs": 1})
    several = params.model_copy(update={"classifier": several})
    jobs.append(job_of("classifier", root / "several", cohort, several, project_root))
    script = TRAIN + "import torch\ntorch.distributed.destroy_process_group()\n"
    environment = {**os.environ, "TQDM_DISABLE": "1", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(project_root)
    command = [warm.python(), *LAUNCH, "--no-python", warm.python(), "-c", script, *jobs]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=3600)
    assert result.returncode == 0, result.stderr[-3000:]
    return root


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("done", [0, 5])
def test_draws_of_all_processes_are_those_of_one(monkeypatch, count, done):
    batch = 4
    alone = SeededSampler(range(10), seed=3)
    alone.skip(done * batch * count)
    shares = []
    for rank in range(count):
        monkeypatch.setattr("wsss_mm.datasets.keyed.get_dist_info", lambda rank=rank: (rank, count))
        sampler = SeededSampler(range(10), seed=3)
        sampler.skip(done * batch)
        shares.append(list(itertools.islice(sampler, 5 * batch)))
    expected = list(itertools.islice(alone, 5 * batch * count))
    for start in range(0, 5 * batch, batch):
        together = {draw for share in shares for draw in share[start : start + batch]}
        assert together == set(expected[start * count : (start + batch) * count])


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "get_world_size", lambda: 4)
    assert batch_per_process(16, 2, "segmenter") == 4
    with pytest.raises(InputError, match=r"segmenter\.batch_size 12 must be a multiple of 4 processes times accum"):
        batch_per_process(12, 2, "segmenter")


def test_on_gpus_batches_are_normalised_by_the_statistics_of_all_processes(monkeypatch):
    made = {}
    wrapped = processes.SharedDataParallel.__bases__[0]
    monkeypatch.setattr(wrapped, "__init__", lambda self, module, **options: made.update(module=module, **options))
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    keys = list(network.state_dict())
    processes.SharedDataParallel(network, [0])
    assert made == {"module": network, "device_ids": None, "broadcast_buffers": True}
    monkeypatch.setattr(nn.Parameter, "is_cuda", True)
    processes.SharedDataParallel(network, [0])
    assert isinstance(made["module"][1], nn.SyncBatchNorm)
    assert list(made["module"].state_dict()) == keys
    assert (made["device_ids"], made["broadcast_buffers"]) == ([0], False)


@pytest.mark.slow
def test_two_processes_train_several_classifiers_one_after_the_other(two):
    folder = two / "several"
    assert len(load_classifiers(folder / "model", members=2)[0]) == 2
    first, second = (json.loads((folder / f"metrics-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(first) == 2
    assert not [path for path in (folder / "work").rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(kind, two, cohort, params, tmp_path, project_root, monkeypatch):
    """The loss curve and the validation metrics agree; each artefact is written once and complete."""
    folders = {"one": tmp_path / "one", "two": two / kind}
    job = job_of(kind, folders["one"], cohort, params, project_root)
    monkeypatch.setattr(nn.Dropout2d, "forward", nn.Dropout2d.forward)  # comes back afterwards
    monkeypatch.setattr(nn.BatchNorm2d, "train", nn.BatchNorm2d.train)  # likewise
    monkeypatch.setattr(sys, "argv", ["", job])
    exec(TRAIN, {})
    curves, metrics = {}, {}
    for name, folder in folders.items():
        with (folder / "curves.csv").open() as stream:
            curves[name] = [
                {key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(stream)
            ]
        metrics[name] = [json.loads(path.read_text()) for path in sorted(folder.glob("metrics-*.json"))]
        assert not list((folder / "work").rglob("*.pth"))
        assert len(list((folder / "model").iterdir())) == 4
        load_model(folder / "model")
    steps = [
        np.array([[float(row[key]) for key in ("step", "lr", "loss")] for row in curves[name]])
        for name in ("one", "two")
    ]
    np.testing.assert_array_equal(steps[0][:, :2], steps[1][:, :2])
    np.testing.assert_allclose(steps[1][:, 2], steps[0][:, 2], rtol=0.02)
    assert len(metrics["two"]) == 2
    assert metrics["two"][0] == metrics["two"][1]  # all processes know the metrics of the whole split
    assert metrics["two"][0] == pytest.approx(metrics["one"][0], abs=0.05)
    texts = [(folder / "model" / "config.py").read_text() for folder in folders.values()]
    assert "launcher" not in texts[1]
    weights = [torch.load(folder / "model" / "weights.pth", weights_only=True) for folder in folders.values()]
    assert weights[0].keys() == weights[1].keys()
