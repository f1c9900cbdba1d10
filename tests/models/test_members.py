"""Classifiers of several seeds in one folder: loaded together or refused in one line, told apart by all weights."""

import hashlib
import json
import shutil

import pytest
import torch

from tests.models.test_store import CLASSIFIER, info
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models import build_network, load_model, save_model
from wsss_mm.models.description import folder_digest
from wsss_mm.models.members import MEMBERS, classifiers_md5, count_classifiers, load_classifiers
from wsss_mm.models.store import copy_model


def save(folder, seed, config=CLASSIFIER, **more):
    """A classifier of random weights."""
    torch.manual_seed(seed)
    said = {**info("classifier", config), **more}
    save_model(folder, state=build_network(config).state_dict(), info=said, config_text="", card="")
    return folder


def together(folder, first, *others):
    """As `train_classifiers` puts them together."""
    copy_model(first, folder, {MEMBERS: [folder_digest(other) for other in others]})
    for number, other in enumerate(others, 1):
        copy_model(other, folder / f"members/{number}", {})
    return folder


@pytest.fixture
def folder(tmp_path):
    """Three classifiers in one folder."""
    return together(tmp_path / "classifier", *(save(tmp_path / f"of-{seed}", seed) for seed in range(3)))


def test_all_are_loaded_and_the_first_is_the_model(folder, tmp_path):
    found, about = load_classifiers(folder, codes=["TE", "NEC", "LYM", "TAS"], members=3)
    for seed, model in enumerate(found):
        assert torch.equal(model.head_weight, load_model(tmp_path / f"of-{seed}")[0].head_weight)
    assert count_classifiers(folder) == 3
    first, own = load_model(folder)  # what asks for one classifier has the first
    assert torch.equal(first.head_weight, found[0].head_weight)
    assert own == about


def test_one_alone_is_as_it_was(tmp_path):
    alone = save(tmp_path / "alone", 0)
    found, about = load_classifiers(alone, members=1)
    assert len(found) == count_classifiers(alone) == 1
    assert about == load_model(alone)[1]
    assert classifiers_md5(alone) == digest(alone / "weights.pth", "md5")


def test_the_digest_is_of_all_weights(folder):
    parts = [digest(path / "weights.pth", "md5") for path in (folder, folder / "members/1", folder / "members/2")]
    assert classifiers_md5(folder) == hashlib.md5(" ".join(parts).encode()).hexdigest()
    before = classifiers_md5(folder)
    shutil.copy(folder / "members/1/weights.pth", folder / "members/2/weights.pth")
    assert classifiers_md5(folder) != before


@pytest.mark.parametrize("asked", [1, 2, 5])
def test_another_number_than_params_ask_for(folder, asked):
    with pytest.raises(InputError, match=rf"has 2 further classifiers, not {asked - 1}, .*dvc repro train_classifier"):
        load_classifiers(folder, members=asked)


def test_a_member_that_is_missing(folder):
    shutil.rmtree(folder / "members/2")
    with pytest.raises(InputError, match=r"members/2: not found; .*dvc checkout.*dvc repro -f train_classifier"):
        load_classifiers(folder)


def test_a_member_that_is_damaged(folder):
    path = folder / "members/1/weights.pth"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"members/1/weights\.pth: not the weights that"):
        load_classifiers(folder)


def test_a_member_of_another_training(folder, tmp_path):
    shutil.rmtree(folder / "members/1")
    shutil.copytree(save(tmp_path / "other", 9), folder / "members/1")
    with pytest.raises(InputError, match=r"members/1: not the classifier that .*model\.json names.*dvc checkout"):
        load_classifiers(folder)


def test_a_member_of_another_vocabulary(folder, tmp_path):
    classes = [{"code": code, "name": code, "color": [1, 2, 3]} for code in ("A", "B", "C", "D")]
    together(tmp_path / "mixed", save(tmp_path / "a", 0), save(tmp_path / "b", 1, classes=classes))
    with pytest.raises(InputError, match=r"members/1: has classes A, B, C, D, not TE, NEC, LYM, TAS; .*dvc repro"):
        load_classifiers(tmp_path / "mixed")


def test_a_member_of_another_encoder(folder, tmp_path):
    wider = {**CLASSIFIER, "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 16}}
    together(tmp_path / "mixed", save(tmp_path / "a", 0), save(tmp_path / "b", 1, wider))
    with pytest.raises(InputError, match=r"members/1: another network than that of .*dvc repro -f train_classifier"):
        load_classifiers(tmp_path / "mixed")


@pytest.mark.parametrize("said", ["abc", [1, 2], {"1": "abc"}, None])
def test_a_description_that_names_no_digests(tmp_path, said):
    copy_model(save(tmp_path / "a", 0), tmp_path / "odd", {MEMBERS: said})
    assert json.loads((tmp_path / "odd/model.json").read_text())[MEMBERS] == said
    with pytest.raises(InputError, match=r"model\.json: damaged: members are no digests"):
        load_classifiers(tmp_path / "odd")
