"""The header of a card, as the hub's own library reads it."""

import pytest

from wsss_mm.engine.card import model_card
from wsss_mm.engine.hub_card import hub_header, without_header

ModelCard = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes with extra encoders").ModelCard

INFO = {
    "kind": "segmenter",
    "cohort": "phantom: small",
    "classes": [{"code": "TE", "name": "Tumour epithelium"}, {"code": "NEC", "name": "Necrosis"}],
    "model": {"decode_head": {"type": "PSPHead"}, "backbone": {"type": "wsss_mm.ResNet38"}},
    "valid": {"miou": 0.92191, "iou.TE": 0.9262, "iou.NEC": float("nan"), "loss": 0.3},
    "train_patches": 385,
    "size": 224,
    "mpp": 1.0,
    "width": 0.125,
    "seed": 0,
    "patches": "0" * 64,
}
OF_UNI = {"initial_weights": {"file": "pretrained/uni.bin", "sha256": "0" * 64}}


def results(card):
    return {(item.metric_name, item.dataset_split): item.metric_value for item in card.data.eval_results}


def test_the_hub_reads_what_was_measured():
    card = ModelCard(model_card(INFO))
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "wsss_mm"
    assert card.data.pipeline_tag == "image-segmentation"
    assert {"histopathology", "research-only"} <= set(card.data.tags)
    assert card.data.metrics == ["mean_iou", "iou"]
    assert card.data.model_name == "segmenter-phantom: small"
    assert results(card) == {("mean IoU", "validation"): 0.9219, ("IoU, Tumour epithelium", "validation"): 0.9262}
    assert card.text.strip().startswith("# Tissue segmenter")


def test_figures_of_the_test_split_are_told_apart():
    card = ModelCard(hub_header(INFO, test={"miou": 0.9, "iou.TE": None}) + "\n# Card\n")
    assert results(card)["mean IoU", "test"] == 0.9
    assert len(results(card)) == 3
    assert without_header(card.content) == "# Card\n"
    assert without_header("# Card\n") == "# Card\n"


def test_of_a_classifier_and_of_one_that_nothing_was_measured_of():
    card = ModelCard(hub_header(INFO | {"kind": "classifier", "valid": {"mean_ap": 0.9, "ap.TE": 1.0}}))
    assert card.data.pipeline_tag == "image-classification"
    assert results(card)["mean average precision", "validation"] == 0.9
    assert ModelCard(hub_header(INFO | {"valid": {}})).data.eval_results is None


def test_the_licence_is_that_of_the_encoder():
    assert ModelCard(hub_header(INFO | OF_UNI)).data.license == "cc-by-nc-nd-4.0"
    assert ModelCard(hub_header(INFO, OF_UNI)).data.license == "cc-by-nc-nd-4.0", "what it learnt from counts too"
    data = ModelCard(hub_header(INFO | {"initial_weights": {"file": "efficientnet-lite0-57934424.pth"}}, OF_UNI)).data
    assert (data.license, data.license_name) == ("other", "apache-2.0-cc-by-nc-nd-4.0")
