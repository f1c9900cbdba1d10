"""Trainings of several classifiers: one folder, the first as ever, and nothing finished is lost or kept too long."""

import json
from contextlib import nullcontext

import pytest

from pipelines import train_classifier as stage
from tests.engine.test_training import Crash, changed, crash_after, outs, paths
from wsss_mm import engine
from wsss_mm.engine import train_classifier, train_classifiers, train_segmenter
from wsss_mm.engine.hooks import ProgressHook
from wsss_mm.files import digest
from wsss_mm.formats import read_rows
from wsss_mm.models.members import count_classifiers, load_classifiers
from wsss_mm.places import PSEUDO_LABEL_MANIFEST


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, project_root):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(project_root)


@pytest.fixture
def short(params):
    """Eight steps of each classifier."""
    return changed(params, "classifier", epochs=2, members=2)


@pytest.fixture
def seeds(monkeypatch):
    """Seeds of the trainings that were begun, with the step that each began at."""
    found, original = [], ProgressHook.before_train

    def before_train(self, runner):
        found.append((runner.seed, runner.iter))
        original(self, runner)

    monkeypatch.setattr(ProgressHook, "before_train", before_train)
    return found


def everything(folder):
    """Digests of all files by their paths."""
    return {path.relative_to(folder).as_posix(): digest(path) for path in folder.rglob("*") if path.is_file()}


def test_the_first_is_the_one_of_params_and_further_ones_are_whole_models(short, cohort, tmp_path, seeds):
    alone, where, other = (paths(cohort, tmp_path / name) for name in ("alone", "both", "other"))
    expected = train_classifiers(changed(short, "classifier", members=1), alone)
    assert "members" not in json.loads((alone.out / "model.json").read_text())["params"]
    assert set(everything(alone.out)) == {"weights.pth", "config.py", "model.json", "README.md"}
    metrics = train_classifiers(short, where)
    assert seeds == [(0, 0), (0, 0), (1000, 0)]
    assert metrics[0] == expected[0]
    for name in ("weights.pth", "config.py"):
        assert (where.out / name).read_bytes() == (alone.out / name).read_bytes()
    assert where.curves.read_bytes() == alone.curves.read_bytes()
    said = json.loads((where.out / "model.json").read_text())
    assert said["valid"] == json.loads((alone.out / "model.json").read_text())["valid"]
    assert "those of 1 more, in `members/`" in (where.out / "README.md").read_text()
    train_classifier(short.model_copy(update={"seed": 1000}), other, tracked=False)
    assert outs(other.out) == outs(where.out / "members/1")
    assert len(load_classifiers(where.out, members=2)[0]) == 2
    assert not [path for path in where.work.rglob("*") if path.is_file()]  # a forced repetition trains anew

    train_classifiers(changed(short, "classifier", members=1), where)  # fewer are asked for: further ones are gone
    assert everything(where.out) == everything(alone.out)


def test_what_is_finished_is_not_trained_again_after_a_kill(short, cohort, tmp_path, monkeypatch, seeds):
    whole, broken = (paths(cohort, tmp_path / name) for name in ("whole", "broken"))
    train_classifiers(short, whole)
    before = everything(train_once(short, cohort, tmp_path / "broken"))
    original = ProgressHook.before_train
    with monkeypatch.context() as patch:

        def second(self, runner):
            original(self, runner)
            if runner.seed == 1000:
                crash_after(patch, 6)

        patch.setattr(ProgressHook, "before_train", second)
        with pytest.raises(Crash):
            train_classifiers(short, broken)
    assert everything(broken.out) == before  # the former model stays until the new one is whole
    seeds.clear()
    metrics = train_classifiers(short, broken)
    assert seeds == [(1000, 4)]  # the first is done, the second goes on from its checkpoint
    assert everything(broken.out) == everything(whole.out)
    assert broken.curves.read_bytes() == whole.curves.read_bytes()
    assert metrics[0] == json.loads((broken.out / "model.json").read_text())["valid"]


def train_once(short, cohort, folder):
    """A former model of three epochs, alone."""
    where = paths(cohort, folder)
    train_classifiers(changed(short, "classifier", members=1, epochs=1), where)
    return where.out


def test_one_that_was_finished_with_other_settings_is_trained_again(short, cohort, tmp_path, monkeypatch, seeds):
    where = paths(cohort, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("wsss_mm.engine.members._put_together", lambda *_: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            train_classifiers(short, where)
    seeds.clear()
    train_classifiers(changed(short, "classifier", members=2, epochs=1), where)
    assert seeds == [(0, 0), (1000, 0)]
    seeds.clear()
    train_classifiers(changed(short, "classifier", members=3), where)
    assert seeds == [(2000, 0)]  # two of three are done
    assert count_classifiers(where.out) == 3


def test_a_segmenter_says_of_how_many_classifiers_its_pseudo_labels_are(short, cohort, tmp_path, monkeypatch):
    short = changed(short, "segmenter", iterations=2, val_interval=2)
    where = paths(cohort, tmp_path)
    train_segmenter(short, where)
    assert "pseudo_label_classifiers" not in json.loads((where.out / "model.json").read_text())
    frame = read_rows(where.pseudo_labels / "manifest.parquet", PSEUDO_LABEL_MANIFEST).assign(members=3)
    monkeypatch.setattr("wsss_mm.engine.training.read_rows", lambda *_: frame)
    train_segmenter(short, where)
    assert json.loads((where.out / "model.json").read_text())["pseudo_label_classifiers"] == 3
    assert "the mean of those of 3 classifiers" in (where.out / "README.md").read_text()


def test_the_run_has_the_validation_of_each_further_one(short, monkeypatch):
    class Enough(Exception):
        """All that is looked at was done."""

    class Recorder:
        def __init__(self):
            self.found = {}

        def training(self, *_, **__):
            return nullcontext()

        def metrics(self, metrics):
            self.found |= metrics

    def enough(*_, **__):
        raise Enough

    valid = [{"mean_ap": 0.9}, {"mean_ap": 0.8, "ap.TE": 0.7}, {"mean_ap": 0.6}]
    monkeypatch.setattr(engine, "train_classifiers", lambda *_: valid)
    monkeypatch.setattr(engine, "classifier_scores", enough)
    monkeypatch.setattr("wsss_mm.patches.read_manifest", lambda *_: None)
    tracker = Recorder()
    with pytest.raises(Enough):
        stage.main(short, tracker)
    assert tracker.found == {"member_1.mean_ap": 0.8, "member_1.ap.TE": 0.7, "member_2.mean_ap": 0.6}
