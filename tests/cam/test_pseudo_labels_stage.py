"""The stage labels training patches, judges where there are masks, and never looks at masks for the labels."""

import hashlib
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipelines import choose_pseudo_labels, pseudo_labels
from tests.nodes import ray
from wsss_mm import places
from wsss_mm.cam import PseudoLabeller, nodes
from wsss_mm.cam.nodes import TASK_SIZE, chunks_of
from wsss_mm.cam.store import label_patches
from wsss_mm.choosing import Choice, read_choice, write_choice
from wsss_mm.errors import InputError
from wsss_mm.evaluation import segmentation_metrics
from wsss_mm.evaluation.tables import counts_of
from wsss_mm.files import digest, read_json
from wsss_mm.inference.patches import predict
from wsss_mm.models.members import classifiers_md5
from wsss_mm.patches import IGNORE, VOCABULARIES, read_manifest, write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.settings import load_profile

__all__ = ["ray"]

VOCABULARY = VOCABULARIES["luad_normal"]
INFO = {"classes": [{"code": code} for code in VOCABULARY.codes]}


class ColourClassifier:
    head_weight = torch.eye(3)

    def normalize(self, images):
        return images / 255

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images, 4)


def _patch(seed):
    """Two colours, one above the other, and the truth of that."""
    rng = np.random.default_rng(seed)
    first, second = rng.choice(3, 2, replace=False)
    mask = np.full((64, 64), first, np.uint8)
    mask[rng.integers(20, 44) :] = second
    image = (np.eye(3)[mask] * 150 + rng.integers(0, 20, (64, 64, 3))).astype(np.uint8)
    image[:10, :20] = 250
    mask[:10, :20] = IGNORE
    return image, mask


@pytest.fixture
def params():
    params = load_profile("phantom")
    cohort = params.cohort.model_copy(update={"vocabulary": VOCABULARY.name})
    return params.model_copy(update={"cohort": cohort, "threads": 1})


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nodes, "load_classifiers", lambda *_, **__: ([ColourClassifier()], INFO))
    rows = []
    for number in range(9):
        split = ("train", "valid", "test")[number // 3]
        image, mask = _patch(number)
        row = store_patch(
            tmp_path / "data/patches",
            f"p{number}",
            split,
            image=image,
            mask=None if split == "train" else mask,
            vocabulary=VOCABULARY,
        )
        flags = {code: bool((mask == index).any()) for index, code in enumerate(VOCABULARY.codes)}
        row |= {"slide_id": split, "patient_id": split, "x": 64 * number, "y": 0, "mpp": 1.0, "tissue": 1.0}
        rows.append(row | flags)
    write_manifest(pd.DataFrame(rows), tmp_path / "data/patches")
    pseudo_labels.MODEL.mkdir(parents=True)
    (pseudo_labels.MODEL / "weights.pth").write_bytes(b"weights")
    settings = load_profile("phantom").pseudo_labels.model_dump()
    write_choice(places.CHOICE_FILE, Choice(settings, settings, "params", "by hand"))
    return tmp_path


def _digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_labels_metrics_and_picture(project, params):
    pseudo_labels.main(params)
    frame = pd.read_parquet(project / "data/pseudo_labels/manifest.parquet")
    assert frame["patch_id"].tolist() == ["p0", "p1", "p2"]
    metrics = read_json(project / "reports/metrics/pseudo_labels.json")
    assert "train" not in metrics  # there is no truth for them
    assert metrics["coverage"] == pytest.approx(1 - 200 / 64**2, abs=1e-6)
    for split in ("valid", "test"):
        assert metrics[split]["miou"] > 0.8
        assert metrics[split]["coverage"] == 1
    with Image.open(project / "reports/pictures/pseudo_labels.png") as picture:
        assert picture.width > 6 * 100
    counts = pd.read_csv(pseudo_labels.COUNTS)
    assert counts["patch_id"].tolist() == ["p6", "p7", "p8", "p3", "p4", "p5"]
    confusion = counts_of(counts[:3], "labels", VOCABULARY.codes).sum(axis=0)
    assert segmentation_metrics(confusion, VOCABULARY.codes)["miou"] == pytest.approx(metrics["test"]["miou"], abs=1e-6)


def test_the_manifest_says_what_the_labels_are_and_what_they_were_made_of(project, params):
    pseudo_labels.main(params)
    frame = pd.read_parquet(project / "data/pseudo_labels/manifest.parquet")
    for row in frame.itertuples():
        assert row.sha256 == digest(pseudo_labels.OUT / row.path)
    assert set(frame["patches"]) == {digest(pseudo_labels.PATCHES / "manifest.parquet")}
    assert set(frame["classifier"]) == {digest(pseudo_labels.MODEL / "weights.pth", "md5")}
    assert read_json(pseudo_labels.METRICS)["weights_md5"] == frame["classifier"].iloc[0]


def test_the_manifest_says_so_where_several_classifiers_made_them(project, params, monkeypatch):
    """How many they were, and the digest of all their weights; equal ones make the labels that one makes."""
    pseudo_labels.main(params)
    alone = pd.read_parquet(project / "data/pseudo_labels/manifest.parquet")
    assert "members" not in alone
    asked = []

    def load(*_, members):
        asked.append(members)
        return [ColourClassifier() for _ in range(members)], INFO

    for module in (nodes, choose_pseudo_labels):
        monkeypatch.setattr(module, "load_classifiers", load)
    for number in (1, 2):
        place = pseudo_labels.MODEL / f"members/{number}"
        place.mkdir(parents=True)
        (place / "weights.pth").write_bytes(b"weights %d" % number)
    classifier = params.classifier.model_copy(update={"members": 3})
    params = params.model_copy(update={"classifier": classifier})
    choose_pseudo_labels.main(params)
    pseudo_labels.main(params)
    assert asked == [3, 3]
    frame = pd.read_parquet(project / "data/pseudo_labels/manifest.parquet")
    assert frame["members"].tolist() == [3, 3, 3]
    assert set(frame["classifier"]) == {classifiers_md5(pseudo_labels.MODEL)} != set(alone["classifier"])
    assert read_json(pseudo_labels.METRICS)["weights_md5"] == frame["classifier"].iloc[0]
    shares = [f"share_{code}" for code in VOCABULARY.codes]
    assert np.allclose(frame[shares], alone[shares], atol=0.01)


@pytest.mark.parametrize("neighbours", [False, True])
def test_labels_of_a_cluster_are_those_of_one_machine(request, project, params, monkeypatch, neighbours):
    """In batches of the same patches, whatever ends first; each process of a node loads the classifiers once."""
    monkeypatch.setattr(nodes, "TASK_SIZE", 2)
    monkeypatch.setattr(nodes, "label_patches", partial(label_patches, batch_size=2))
    settings = load_profile("phantom").pseudo_labels.model_dump() | {"neighbours": neighbours}
    write_choice(places.CHOICE_FILE, Choice(settings, settings, "params", "by hand"))
    batches, loaded = [], []
    labels, load = PseudoLabeller.label, nodes.load_classifiers

    def noted(self, images, *rest):
        batches.append(hashlib.sha256(images.tobytes()).hexdigest())
        return labels(self, images, *rest)

    def loads(*what, **how):
        loaded.append(what)
        return load(*what, **how)

    monkeypatch.setattr(PseudoLabeller, "label", noted)
    monkeypatch.setattr(nodes, "load_classifiers", loads)

    def outs():
        pseudo_labels.main(params)
        paths = (pseudo_labels.METRICS, pseudo_labels.COUNTS, pseudo_labels.PICTURE)
        return _digest(pseudo_labels.OUT), [path.read_bytes() for path in paths]

    alone, here = outs(), sorted(batches)
    batches.clear()
    loaded.clear()
    cluster = request.getfixturevalue("ray")
    cluster.travel = lambda value: pickle.loads(pickle.dumps(value))
    assert outs() == alone
    assert sorted(batches) == here
    assert len(loaded) == 2, "in front, and on the node that the stand-in is"
    asked = [tuple(given[name] for name in ("name", "num_cpus", "num_gpus")) for given in cluster.options]
    assert asked == [("pseudo-labels", 1, 0)]

    (project / "data/patches/images/train/p1.png").unlink()
    with pytest.raises(InputError, match=r"^data/patches/images/train/p1\.png: not found, though"):
        pseudo_labels.main(params)
    assert _digest(pseudo_labels.OUT) == alone[0]


def test_chunks_are_whole_batches():
    """Of any number of patches and runs of sizes: batches within chunks are those without them."""
    rng = np.random.default_rng(0)
    for count in (0, 1, TASK_SIZE, TASK_SIZE + 1, 700):
        rows = pd.DataFrame({"size": np.repeat(rng.choice([64, 96], 9), 80)[:count], "patch_id": np.arange(count)})
        whole = list(_batches(rows))
        assert [batch for chunk in chunks_of(rows) for batch in _batches(chunk)] == whole
        assert all(0 < len(chunk) <= TASK_SIZE for chunk in chunks_of(rows))


def _batches(rows):
    """Ids of the patches in each batch of the loop."""
    images = (np.zeros((size, size, 3), np.uint8) for size in rows["size"])
    found = []

    def step(batch):
        found.append([row["patch_id"] for row in batch.rows])
        return batch.rows

    list(predict(rows, None, step, "cpu", name="", quiet=True, images=images))
    return found


def test_without_any_mask_nothing_is_judged(project, params):
    manifest = pd.read_parquet(project / "data/patches/manifest.parquet").assign(mask_path=None)
    write_manifest(manifest, project / "data/patches")
    pseudo_labels.main(params)
    assert not {"train", "valid", "test"} & read_json(pseudo_labels.METRICS).keys()
    assert pd.read_csv(pseudo_labels.COUNTS).empty


def test_same_bytes_twice_and_whatever_the_masks_say(project, params):
    pseudo_labels.main(params)
    first = _digest(project / "data/pseudo_labels")
    for path in (project / "data/patches/masks").rglob("*.png"):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    pseudo_labels.main(params)
    assert _digest(project / "data/pseudo_labels") == first


def test_model_of_another_vocabulary(project, params):
    cohort = params.cohort.model_copy(update={"vocabulary": "lung"})
    with pytest.raises(InputError):
        pseudo_labels.main(params.model_copy(update={"cohort": cohort}))


def test_missing_patch_is_named_and_nothing_is_lost(project, params):
    pseudo_labels.main(params)
    first = _digest(project / "data/pseudo_labels")
    (project / "data/patches/images/train/p1.png").unlink()
    with pytest.raises(InputError, match=r"p1\.png"):
        pseudo_labels.main(params)
    assert _digest(project / "data/pseudo_labels") == first


def test_what_the_stage_before_chose_is_what_labels_are_made_with(project, params, monkeypatch):
    pseudo_labels.main(params)
    first = _digest(project / "data/pseudo_labels")
    monkeypatch.setattr(choose_pseudo_labels, "load_classifiers", lambda *_, **__: ([ColourClassifier()], INFO))
    trying = params.choose_pseudo_labels.model_copy(update={"enabled": True})
    choose_pseudo_labels.main(params.model_copy(update={"choose_pseudo_labels": trying}))
    choice = read_choice(places.CHOICE_FILE)
    assert (choice.by, choice.patches, choice.unit, choice.units) == ("masks", 3, "slide", 1)
    assert choice.miou["chosen"] >= choice.miou["published"] > choice.miou["labels_alone"]
    assert places.CHOICE_PICTURE.is_file()
    pseudo_labels.main(params)
    if choice.settings == read_choice_of(params):
        assert _digest(project / "data/pseudo_labels") == first
    other = dict(choice.settings) | {"temperatures": [100.0, 1.0, 1.0]}
    write_choice(places.CHOICE_FILE, Choice(other, other, "params", "by hand"))
    pseudo_labels.main(params)
    assert _digest(project / "data/pseudo_labels") != first


def read_choice_of(params):
    """The settings of params.yaml as a choice has them, lists for tuples."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in params.pseudo_labels}


def test_a_class_that_nobody_is_sure_of_is_never_gated_away(project, params):
    """The patch of two colours, of which one is in the label set: with the other unsure, its pixels keep it."""
    pseudo_labels.main(params)
    codes = list(VOCABULARY.codes)
    manifest = read_manifest("data/patches", VOCABULARY)
    row = manifest.index[manifest["split"] == "train"][0]
    patch_id, held = manifest.at[row, "patch_id"], [code for code in codes if manifest.at[row, code]]
    with Image.open(f"data/pseudo_labels/labels/{patch_id}.png") as image:
        whole = np.asarray(image).copy()
    assert len(held) == 2
    manifest.loc[row, held[1]] = False
    write_manifest(manifest, "data/patches")
    pseudo_labels.main(params)
    with Image.open(f"data/pseudo_labels/labels/{patch_id}.png") as image:
        assert set(np.unique(image)) <= {codes.index(held[0]), IGNORE}
    manifest.loc[row, "unsure"] = held[1]
    write_manifest(manifest, "data/patches")
    pseudo_labels.main(params)
    with Image.open(f"data/pseudo_labels/labels/{patch_id}.png") as image:
        assert np.array_equal(np.asarray(image), whole)


def test_what_params_say_is_chosen_where_choosing_is_off(project, params, monkeypatch):
    monkeypatch.setattr(choose_pseudo_labels, "load_classifiers", lambda *_, **__: ([ColourClassifier()], INFO))
    choose_pseudo_labels.main(params)
    choice = read_choice(places.CHOICE_FILE)
    assert (choice.by, choice.settings, choice.trials) == ("params", read_choice_of(params), ())
