"""The front door: slides of which nobody knows anything become a trained network, by what readers say on the page.

A scripted reader answers in a real browser from the truth, which the project does not have; a second one errs.
"""

import re
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from PIL import Image

from pipelines import (
    choose_pseudo_labels,
    cohort,
    evaluate,
    labels,
    patches,
    pseudo_labels,
    train_classifier,
    train_segmenter,
)
from tests.gates.project import inside
from tests.labelling.unlabelled import make_unlabelled
from tests.web.label.project import ROOT, running
from tests.web.label.screen import entries, loaded_ahead, name_of, on_screen, saved
from wsss_mm.cli.main import main
from wsss_mm.labelling import read_journals
from wsss_mm.labelling.agreement import agreement_table
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import known_mask
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.wsi.geojson import write_geojson

pytestmark = pytest.mark.slow

SHORT = {
    "classifier": {"width": 0.0625, "epochs": 1},
    "choose_pseudo_labels": {"enabled": False},
    "pseudo_labels": {"scales": [1.0]},
    "segmenter": {"width": 0.0625, "iterations": 2, "val_interval": 2, "cycle": None, "batch_size": 4, "crop": 64},
    "evaluate": {"flip": False, "bootstrap": 10},
    "slides": {"window": 64},
}


class Untracked:
    """What stages say of a run, to nobody."""

    @contextmanager
    def training(self, *_, **__):
        yield

    def figure(self, *_):
        pass

    def evaluation(self, *_, **__):
        pass


@pytest.fixture
def oracle(tmp_path):
    oracle = make_unlabelled(tmp_path / "lab", changes=SHORT)
    for name in ("vocabularies", "mmconfigs"):
        (oracle.root / name).symlink_to(ROOT / name)
    return oracle


def label(page, oracle, count, wrong=()):
    """Answer so many patches by keyboard alone, from the truth; of those that are counted in `wrong`, the first class
    is said the other way round. Gives what was said, by patch."""
    said = {}
    for number in range(count):
        name = on_screen(page)
        states = oracle.truth_labels([name])[0]
        states[0] ^= number in wrong
        for index in np.flatnonzero(states):
            page.keyboard.press(str(index + 1))
        page.keyboard.press("Enter" if states.any() else "n")
        said[name] = states
    return said


def settle(page, oracle, count):
    """Decide disagreements from the truth: only the first class is asked."""
    page.keyboard.press("p")
    page.click("text=Settle them")
    for _ in range(count):
        name = on_screen(page)
        assert page.locator(".class:not([disabled])").count() == 1
        held = oracle.truth_labels([name])[0][0]
        page.keyboard.press("1" if held else "n")
        if held:
            page.keyboard.press("Enter")
    assert on_screen(page) is None
    assert page.is_visible("#finished")
    saved(page)


def outline(oracle):
    """Masks for valid and test, as QuPath would write them."""
    vocabulary, judged = oracle.vocabulary, [slide for slide in oracle.cohort() if slide.split != "train"]
    for slide in judged:
        truth = read_label_tiff(oracle.hidden / f"{slide.slide_id}.tif")
        write_geojson(oracle.root / f"{slide.slide_id}.geojson", truth, vocabulary.classes)
    ids = [slide.slide_id for slide in judged]
    with inside(oracle.root):
        assert main(["cohort", "set", *ids, "--annotation", "{slide}.geojson"]) == 0


def test_from_unlabelled_slides_to_a_trained_network(oracle, browse):
    root, params, vocabulary = oracle.root, oracle.params, oracle.vocabulary
    readers = ("--reader", "ann", "bob", "--no-features")
    with running(root, *readers) as (server, port):
        ann = browse(port)
        ann.select_option("#order", "random")
        said = label(ann, oracle, 12)
        saved(ann)
        on_screen(ann)
        loaded_ahead(ann, 3)
        server.send_signal(signal.SIGKILL)
        server.wait()
        said |= label(ann, oracle, 2)  # of what was loaded ahead
        ann.wait_for_selector("#offline:visible")
    with running(root, *readers, port=port):
        saved(ann)
        said |= label(ann, oracle, 16)
        saved(ann)
        bob = browse(port, "bob")
        bob.select_option("#order", "random")
        wrong = {2, 7, 11}
        again = label(bob, oracle, 15, wrong=wrong)
        saved(bob)
        assert list(again) == list(said)[:15]  # at random, both meet the same patches
        settle(ann, oracle, len(wrong))

    first = [entry for entry in entries(root / "labels") if entry["kind"] == "answer" and not entry.get("repeat")]
    told = {name_of(entry): entry for entry in first}
    assert told.keys() == said.keys()
    for name, entry in told.items():
        assert [code for code, state in entry["classes"].items() if state == "present"] == oracle.true_codes(name)
    table = agreement_table(read_journals(root / "labels"), vocabulary.codes)
    between = table[table["kind"] == "between"].set_index("class")["agreed"].to_dict()
    assert between[vocabulary.codes[0]] == pytest.approx(1 - len(wrong) / 15)
    assert {between[code] for code in vocabulary.codes[1:]} == {1.0}

    outline(oracle)
    with inside(root):
        for stage in (labels, cohort, patches):
            stage.main(params)
        for stage in (train_classifier, choose_pseudo_labels, pseudo_labels, train_segmenter, evaluate):
            stage.main(params, *([Untracked()] if stage in (train_classifier, train_segmenter, evaluate) else []))
        manifest = read_manifest("data/patches", vocabulary)
    of_train = manifest[manifest["split"] == "train"]
    assert set(of_train["patch_id"]) == {name for name in said if "-train-" in name and said[name].any()}
    held, known = manifest[list(vocabulary.codes)].to_numpy(), known_mask(manifest, vocabulary.codes)
    right, drawn = held == oracle.truth_labels(manifest["patch_id"]), manifest["mask_path"].notna().to_numpy()
    assert right[~drawn][known[~drawn]].all()
    assert right[drawn].mean() > 0.97  # outlines run beside the mask's borders: a class at the least share may tip
    for name, classes in zip(manifest["mask_path"][drawn], held[drawn], strict=True):
        pixels = np.asarray(Image.open(root / "data/patches" / name))
        shares = np.array([(pixels == index).mean() for index in range(len(vocabulary))])
        assert (classes == ((shares > 0) & (shares >= params.patches.min_class_share))).all()
    assert known.mean() > 0.95  # what was disputed and is not settled counts as unsure
    assert manifest.loc[manifest["split"] == "test", "mask_path"].notna().all()
    assert (root / "models/segmenter/model.json").is_file()


def test_what_the_page_asks_for_beforehand_needs_no_label():
    """docs/labelling.md says what to run before the page: none of it may wait for what is labelled there."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    text = (ROOT / "docs/labelling.md").read_text().partition("wsss-mm label")[0]
    wanted = [name for line in re.findall(r"^dvc repro (.+)$", text, re.M) for name in line.split()]
    assert wanted == ["candidates"]
    maker = {
        str(next(iter(out)) if isinstance(out, dict) else out): name
        for name, stage in stages.items()
        for out in stage.get("outs", [])
    }
    needed = set()
    while wanted:
        name = wanted.pop()
        needed.add(name)
        wanted += [maker[dep] for dep in stages[name]["deps"] if dep in maker and maker[dep] not in needed]
    assert "patches" not in needed
    assert {"candidates", "cohort"} <= needed
