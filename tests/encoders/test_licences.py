"""What the licence of an encoder makes of a model: on its cards, and in tags."""

import pytest

from wsss_mm.encoders import get_encoder
from wsss_mm.encoders.licences import encoders_of, licence_lines, licence_tags
from wsss_mm.engine.card import model_card
from wsss_mm.tracking.card import licence_text

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OF_UNI = {"initial_weights": {"file": "pretrained/uni.bin", "sha256": "0" * 64}}


def test_a_model_that_began_with_nothing_has_the_licence_of_the_code():
    assert licence_text({}, {}) == "Licence: Apache-2.0, as the code, unless the licence of the data says otherwise."
    assert licence_tags({}) == {}


@pytest.mark.parametrize(
    "info",
    [
        {"initial_weights": {"file": "pretrained/efficientnet-lite0-57934424.pth", "sha256": "0" * 64}},
        {"initial_weights": {"file": "pretrained/renamed.pth", "sha256": SHA256}},
        {"initial_weights": {"file": "weights.pth", "sha256": "1", "initial_weights": {"file": "x", "sha256": SHA256}}},
        {"frozen_encoder": {"name": "efficientnet_lite0", "sha256": SHA256}},
        {"initial_weights": {"file": "weights.pth", "sha256": "1", "frozen_encoder": {"sha256": SHA256}}},
    ],
)
def test_an_encoder_is_found_wherever_it_is(info):
    assert encoders_of(info) == (get_encoder("efficientnet_lite0"),)
    assert licence_tags(info)["may_be_passed_on"] == "yes"
    assert "may not" not in " ".join(licence_lines(info))


def test_a_model_made_from_no_derivatives_may_not_be_passed_on():
    text = licence_text(OF_UNI)
    assert "Made from encoder `uni`, whose licence is CC-BY-NC-ND-4.0; cite Chen et al. 2024" in text
    assert "**This model may not be passed on**" in text
    assert "**No commercial use.**" in text
    assert licence_tags(OF_UNI) == {
        "encoder.licence": "uni: CC-BY-NC-ND-4.0",
        "may_be_passed_on": "no",
        "commercial_use": "no",
    }


def test_what_learnt_from_such_a_model_is_of_it_too():
    assert licence_tags({}, OF_UNI)["may_be_passed_on"] == "no"
    assert "may not be passed on" in licence_text({}, OF_UNI)


def test_what_nobody_confirmed_is_left_to_the_reader():
    said = {"initial_weights": {"file": "pretrained/phikon_v2.safetensors", "sha256": "0" * 64}}
    assert licence_tags(said)["may_be_passed_on"] == "unknown"
    assert "Whether it may be passed on, that licence says: read it first." in licence_text(said)


def test_the_card_beside_the_weights_says_it():
    info = {
        "kind": "classifier",
        "classes": [{"code": "A", "name": "a"}],
        "valid": {},
        "model": {"backbone": {"type": "wsss_mm.TimmBackbone"}},
        **{"width": 1.0, "cohort": "phantom", "train_patches": 1, "size": 224, "mpp": 1.0, "seed": 0, "patches": "x"},
    }
    assert "pass this model on" not in model_card(info)
    assert "CC-BY-NC-ND-4.0" in model_card(info | OF_UNI | {"encoder": "uni"})
    assert "do not pass this model on" in model_card(info | OF_UNI | {"encoder": "uni"})
