"""The file that says what was chosen."""

import json

import pytest

from wsss_mm.choosing import Choice, read_choice, write_choice
from wsss_mm.choosing.choice import TriedSetting
from wsss_mm.choosing.figure import choice_figure
from wsss_mm.errors import InputError

SETTINGS = {"method": "cam", "eps": 1e-8, "scales": [1.0], "normalization": "class"}
TRIAL = TriedSetting("normalization", "class", 0.6, 0.1, 0.05, 0.15, "better", taken=True)


@pytest.fixture
def choice():
    return Choice(
        SETTINGS, {"method": "cam"}, "masks", "says", {"chosen": 0.6}, 9, "slide", 3, (TRIAL,), ("label more",)
    )


def test_it_is_read_as_it_was_written(tmp_path, choice):
    path = tmp_path / "choices/pseudo_labels.json"
    write_choice(path, choice)
    assert read_choice(path) == choice
    assert read_choice(path).settings["eps"] == 1e-8
    assert read_choice(path).labeller(None).normalization == "class"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"model": "x"}}, "names no settings"),
        ({"settings": None}, "names no settings"),
        ({"trials": [{"what": 1}]}, "damaged"),
        ({"format": 99}, "newer"),
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path, choice, change, says):
    path = tmp_path / "pseudo_labels.json"
    write_choice(path, choice)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=f"pseudo_labels.json: .*{says}"):
        read_choice(path)


def test_there_is_a_picture_with_and_without_trials(tmp_path, choice):
    for name, shown in (("some", choice), ("none", Choice({}, {}, "params", "off"))):
        choice_figure(shown, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
