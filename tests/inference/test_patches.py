"""The loop over patches: every patch once, in order, in batches of one size, on the network's device."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines import evaluate, pseudo_labels
from studies import folds
from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.store import label_patches
from wsss_mm.choosing import Choice, write_choice
from wsss_mm.engine import scoring
from wsss_mm.errors import InputError
from wsss_mm.evaluation.predict import predict_patches
from wsss_mm.inference.patches import predict
from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.places import CHOICE_FILE
from wsss_mm.settings import load_profile
from wsss_mm.tracking.tracker import Tracker

VOCABULARY = VOCABULARIES["luad_normal"]


def write(folder, sizes):
    """Patches of these (height, width), each of one grey, which is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(sizes):
        Image.fromarray(np.full((height, width, 3), number, np.uint8)).save(folder / f"{number}.png")
    return pd.DataFrame({"patch_id": range(len(sizes)), "path": [f"{number}.png" for number in range(len(sizes))]})


class Greys:
    """Reads the numbers out of the pictures; notes the sizes of batches; too many patches do not fit into memory."""

    def __init__(self, fits=99):
        self.fits, self.batches = fits, []

    def __call__(self, batch):
        self.batches.append(batch.images.shape)
        if len(batch.rows) > self.fits:
            raise torch.OutOfMemoryError("out of memory")
        return batch.images[:, 0, 0, 0].tolist()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.sampled_from([(8, 8), (8, 9), (16, 8)]), max_size=12),
    batch_size=st.integers(1, 6),
    fits=st.integers(1, 6),
)
def test_every_patch_once_and_in_order(tmp_path, sizes, batch_size, fits):
    rows, step = write(tmp_path, sizes), Greys(fits)
    found = list(predict(rows, tmp_path, step, "cpu", name="greys", batch_size=batch_size, quiet=True))
    assert [patch.found for patch in found] == [patch.row["patch_id"] for patch in found] == list(range(len(sizes)))
    assert [patch.image.shape[:2] for patch in found] == sizes
    assert all(shape[0] <= batch_size for shape in step.batches)


def test_patches_of_one_size_share_a_batch(tmp_path):
    step = Greys()
    list(predict(write(tmp_path, [(8, 8)] * 5 + [(9, 9)] * 2), tmp_path, step, "cpu", name="greys", batch_size=3))
    assert [tuple(shape) for shape in step.batches] == [(3, 3, 8, 8), (2, 3, 8, 8), (2, 3, 9, 9)]


def test_batches_that_do_not_fit_are_halved_and_stay_so(tmp_path):
    step = Greys(fits=2)
    list(predict(write(tmp_path, [(8, 8)] * 10), tmp_path, step, "cpu", name="greys", batch_size=8))
    assert [shape[0] for shape in step.batches] == [8, 4, 2, 2, 2, 2, 2]


def test_one_that_does_not_fit_is_an_error(tmp_path):
    with pytest.raises(torch.OutOfMemoryError):
        list(predict(write(tmp_path, [(8, 8)]), tmp_path, Greys(fits=0), "cpu", name="greys"))


def test_progress_unless_quiet(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    rows = write(tmp_path, [(8, 8)] * 3)
    for quiet in (False, True):
        list(predict(rows, tmp_path, Greys(), "cpu", name="greys", quiet=quiet))
        assert ("greys: 100%" in capsys.readouterr().err) is not quiet


def test_precision_is_fp32_unless_told(tmp_path):
    seen, rows = [], write(tmp_path, [(8, 8)])

    def step(batch):
        values = torch.ones(1, 1)
        seen.append((values @ values).dtype)
        assert not torch.is_grad_enabled()
        return [None]

    for told in ({}, {"precision": "bf16"}):
        list(predict(rows, tmp_path, step, "cpu", name="greys", **told))
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
def test_a_file_that_is_missing_or_damaged_is_named_after_those_before(tmp_path, damage):
    rows, found = write(tmp_path, [(8, 8)] * 3), []
    (tmp_path / "1.png").unlink()
    if damage == "unreadable":
        (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1\.png"):
        found.extend(predict(rows, tmp_path, Greys(), "cpu", name="greys", batch_size=1))


class Everywhere(torch.nn.Module):
    """Classifier and segmenter of three colours on a device that holds no values; notes where images come from."""

    def __init__(self, device="meta"):
        super().__init__()
        self.register_buffer("head_weight", torch.eye(3, device=device))
        self.devices = []

    def _seen(self, images):
        self.devices.append(images.device.type)
        return torch.zeros(images.shape)

    def normalize(self, images):
        return self._seen(images)

    def features(self, images):
        return images

    def predict(self, images):
        return self._seen(images).mean(dim=(2, 3))

    def predict_probabilities(self, images):
        return self._seen(images)


class Moved(Everywhere):
    """A network on the CPU that says it is elsewhere, so that results can be read back."""

    def parameters(self, recurse=True):
        return iter([torch.zeros(1, device="meta")])


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A small project in which every user of the loop can run, on a machine with a GPU."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(9):
        split = ("train", "valid", "test")[number // 3]
        mask = np.full((16, 16), number % 3, np.uint8)
        image = (np.eye(3)[mask] * 150).astype(np.uint8)
        stored = store_patch(
            tmp_path / "data/patches", f"p{number}", split, image=image, mask=mask, vocabulary=VOCABULARY
        )
        flags = {code: bool((mask == index).any()) for index, code in enumerate(VOCABULARY.codes)}
        rows.append(
            stored | flags | {"slide_id": split, "patient_id": split, "x": 0, "y": 0, "mpp": 1.0, "tissue": 1.0}
        )
    write_manifest(pd.DataFrame(rows), tmp_path / "data/patches")
    for folder in (evaluate.SEGMENTER, evaluate.CLASSIFIER):
        folder.mkdir(parents=True)
        (folder / "weights.pth").write_bytes(folder.name.encode())
    settings = load_profile("phantom").pseudo_labels.model_dump()
    write_choice(CHOICE_FILE, Choice(settings, settings, "params", "by hand"))
    return pd.DataFrame(rows)


class Stop(Exception):
    """The loop was reached."""


@pytest.fixture
def asked(monkeypatch):
    """The device each network was loaded for and each loop was given, on a machine with a GPU; nothing runs."""
    found = {"loaded": [], "shown": []}
    info = {"classes": [{"code": code} for code in VOCABULARY.codes], "vocabulary": VOCABULARY.name}

    def load(folder, device="cpu", codes=None):
        found["loaded"].append(str(device))
        return Everywhere(), info

    def load_all(folder, device="cpu", codes=None, **_):
        network, said = load(folder, device, codes)
        return [network], said

    def shown(rows, folder, step, device, **options):
        found["shown"].append(str(device))
        raise Stop

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for module in ("wsss_mm.models", "wsss_mm.engine.scoring"):
        monkeypatch.setattr(f"{module}.load_model", load)
    for module in ("wsss_mm.models.members", "wsss_mm.cam.nodes"):
        monkeypatch.setattr(f"{module}.load_classifiers", load_all)
    for module in ("wsss_mm.cam.store", "wsss_mm.evaluation.predict", "wsss_mm.engine.scoring"):
        monkeypatch.setattr(f"{module}.predict", shown)
    return found


@pytest.fixture
def params():
    params = load_profile("phantom")
    cohort = params.cohort.model_copy(update={"vocabulary": VOCABULARY.name})
    return params.model_copy(update={"cohort": cohort, "threads": 1})


USERS = {
    "scores": lambda line, params: scoring.classifier_scores("models/classifier", "data/patches", split="valid"),
    "pseudo-labels": lambda line, params: pseudo_labels.main(params),
    "evaluation": lambda line, params: evaluate.main(params, Tracker()),
    "folds": lambda line, params: folds.judge_model(evaluate.SEGMENTER, line, VOCABULARY, params),
}


@pytest.mark.parametrize("user", USERS)
def test_every_user_of_the_loop_follows_the_rule_for_the_device(line, asked, params, user):
    with pytest.raises(Stop):
        USERS[user](line, params)
    assert set(asked["loaded"]) == {"cuda"}
    assert asked["shown"] == ["meta"]  # where the network is


def test_images_are_sent_to_the_networks_device(line):
    folder = Path("data/patches")
    segmenter, classifier = Moved("cpu"), Everywhere("cpu")
    list(predict_patches(segmenter, classifier, line, folder))
    assert set(segmenter.devices) == {"meta"} == set(classifier.devices)
    labeller = PseudoLabeller(Everywhere("meta"), background=False)
    assert labeller.device.type == "meta"
    with pytest.raises((NotImplementedError, RuntimeError)):  # a device without values gives no labels
        next(label_patches(labeller, line, folder, VOCABULARY))
    assert labeller.model.devices == ["meta"]
