"""A budget in cycles: a longer one begins with the shorter one, so that it is never worse on the validation split."""

import csv
from pathlib import Path

import pytest
import torch
from mmengine import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn

from tests.settings import content_of
from wsss_mm.engine import Paths, train_segmenter
from wsss_mm.engine.cycles import CycleHook, CyclicPolyLR
from wsss_mm.engine.hooks import SuppressionScheduleHook
from wsss_mm.errors import InputError
from wsss_mm.models import NoiseSuppressedCrossEntropyLoss
from wsss_mm.settings import checked


def trained(cohort: Path, params, out: Path, **update) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Metrics of the weights that are kept, and the rows of the curves."""
    params = params.model_copy(update={"segmenter": params.segmenter.model_copy(update=update)})
    where = Paths(
        patches=cohort / "patches",
        pseudo_labels=cohort / "pseudo_labels",
        out=out / "model",
        curves=out / "curves.csv",
        work=out / "work",
    )
    metrics = train_segmenter(params, where)
    with where.curves.open() as stream:
        return metrics, list(csv.DictReader(stream))


def test_a_longer_budget_begins_with_the_shorter_one_and_is_never_worse(cohort, params, tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(Path(__file__).parents[2])
    found = {
        iterations: trained(cohort, params, tmp_path / str(iterations), iterations=iterations, cycle=4, val_interval=4)
        for iterations in (4, 12)
    }
    (short, begun), (long, went_on) = found[4], found[12]
    assert [(row["loss"], row["lr"], row["miou"]) for row in begun] == [
        (row["loss"], row["lr"], row["miou"]) for row in went_on[: len(begun)]
    ]
    assert long["miou"] >= short["miou"]
    judged = [float(row["miou"]) for row in went_on if row["miou"]]
    assert long["miou"] == pytest.approx(max(judged), abs=1e-4)
    # It ended behind the first cycle that brought nothing.
    assert len(judged) == 3 or judged[-1] <= max(judged[:-1])


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_training_ends_behind_as_many_cycles_as_brought_nothing(patience):
    class Loop:
        stop_training = False

    class Runner:
        message_hub, train_loop = MessageHub.get_instance(f"patience {patience}"), Loop()

    best_after = {4: "best-4.pth", 8: "best-6.pth", 12: "best-6.pth", 16: "best-14.pth"}  # 12 brings nothing, 16 does
    hook, ended = CycleHook(cycle=4, patience=patience), None
    for Runner.iter in range(2, 41, 2):
        Runner.message_hub.update_info("best_file", best_after.get(Runner.iter // 4 * 4, "best-14.pth"))
        hook.after_val_epoch(Runner)
        if Runner.train_loop.stop_training:
            ended = Runner.iter
            break
    assert ended == {1: 12, 2: 24, 3: 28}[patience]


def test_learning_rate_rises_and_falls_in_each_cycle_alike():
    layer = nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=1.0))
    schedule = CyclicPolyLR(wrapper, cycle=5, warmup=0.4, power=1.0, by_epoch=False)
    seen = []
    for _ in range(10):
        seen.append(wrapper.get_lr()["lr"][0])
        wrapper.step()
        schedule.step()
    assert seen[:5] == pytest.approx([0.1, 0.55 * 0.8, 0.6, 0.4, 0.2])
    assert seen[5:] == pytest.approx(seen[:5])


def test_noise_is_suppressed_only_after_the_warm_up():
    class Runner:
        model, iter = nn.Sequential(NoiseSuppressedCrossEntropyLoss()), 0

    loss, plain = Runner.model[0], NoiseSuppressedCrossEntropyLoss("ce")
    logits = torch.tensor([[[[4.0, -4.0, 4.0]], [[-4.0, 4.0, -4.0]]]])
    labels = torch.tensor([[[0, 1, 1]]])  # the last against a confident prediction
    hook, seen = SuppressionScheduleHook(begin=2), []
    for Runner.iter in range(4):
        hook.before_train_iter(Runner, 0)
        seen.append(float(loss(logits, labels)) == pytest.approx(float(plain(logits, labels))))
    assert seen == [True, True, False, False]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"iterations": 250, "cycle": 100, "val_interval": 50}, "iterations: 250 must be a multiple of cycle 100"),
        ({"iterations": 200, "cycle": 100, "val_interval": 30}, "val_interval: 30 does not divide cycle 100"),
    ],
)
def test_a_cycle_that_does_not_fit_is_refused(values, says):
    content = content_of()
    content["segmenter"] |= values
    with pytest.raises(InputError, match=says):
        checked(content, "params.yaml")
