"""What is tried is what params.yaml takes, the current setting first."""

import pytest

from studies.rows import with_values as with_texts
from wsss_mm.choosing.tuning.values import (
    check_grid,
    contender_text,
    contenders,
    default_grid,
    read_grid,
    shortened,
    with_values,
    work,
)
from wsss_mm.errors import InputError
from wsss_mm.settings import load_profile


@pytest.fixture(scope="module")
def params():
    return load_profile("phantom")


def test_the_current_setting_comes_first_then_what_differs_least(params):
    grid = {"segmenter.lr": [0.001, 0.002, 0.004], "segmenter.loss": ["ce", "onss"]}
    found = contenders(grid, params, seed=0)
    assert found[:4] == [{}, {"segmenter.lr": 0.001}, {"segmenter.loss": "onss"}, {"segmenter.lr": 0.004}]
    assert len(found) == 6
    assert contenders(grid, params, seed=0) == found
    assert contender_text(found[1]) == "segmenter.lr 0.001"


def test_without_masks_the_classifier_alone_is_tuned(params):
    assert {key.partition(".")[0] for key in default_grid(params, masks=False)} == {"classifier"}
    check_grid(default_grid(params, masks=True), params, masks=True, where="values")
    with pytest.raises(InputError, match=r"v.yaml: segmenter.loss: no validation patch has a mask"):
        check_grid({"segmenter.loss": ["ce"]}, params, masks=False, where="v.yaml")


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"segmenter.lt": [1.0]}, "segmenter.lt: not a parameter; did you mean segmenter.lr"),
        ({"segmenter.lr": [-1.0]}, "v.yaml: segmenter.lr: Input should be greater than 0"),
        ({"segmenter.loss": ["dice"]}, "dice is not one of"),
        ({"patches.size": [112]}, "patches.size: is not tuned; give keys of classifier and segmenter"),
        ({"segmenter.width": [1.0]}, "leave it out"),
    ],
)
def test_what_params_yaml_does_not_take_is_refused(params, grid, says):
    with pytest.raises(InputError) as error:
        check_grid(grid, params, masks=True, where="v.yaml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("segmenter.lr: 0.1\n", "line 1: segmenter.lr: holds no list of values"),
        ("- a\n", "holds no values to try"),
        ("a: [\n", "not valid YAML"),
        (None, "not found"),
    ],
)
def test_a_file_of_values_that_is_none_is_one_line(tmp_path, text, says):
    path = tmp_path / "v.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as error:
        read_grid(path)
    assert says in str(error.value)


def test_a_share_of_a_training_has_its_whole_schedule(params):
    short = shortened(params, 1 / 3)
    assert (short.classifier.epochs, short.segmenter.iterations, short.segmenter.val_interval) == (4, 100, 50)
    assert shortened(params, 1) is params
    assert work(short, params, both=True) == pytest.approx(1 / 3)


def test_a_study_gives_the_same_values_as_text(params):
    assert with_texts(params, ["segmenter.lr=0.1", "seed=3"]) == with_values(
        params, {"segmenter.lr": 0.1, "seed": 3}, "x"
    )
