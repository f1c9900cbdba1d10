"""One home for a parameter's name, type, range, default and meaning; everyone else derives theirs."""

import argparse
import json
from dataclasses import fields

import numpy as np
import pytest
import tifffile
from pydantic import TypeAdapter, ValidationError

from wsss_mm.cli.main import build_parser
from wsss_mm.cli.segment import _parameters
from wsss_mm.encoders import STRIDE
from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.settings import Params, SlideSettings, load_profile
from wsss_mm.settings.sections import DISAGREEMENT
from wsss_mm.slide_parameters import DEFAULTS, SETTINGS, TYPES, Parameters, choices_of, faults, number_of
from wsss_mm.wsi import SlideModel, segment_slide

VALUES = [
    -1,
    0,
    1,
    31,
    32,
    254,
    255,
    256,
    1024,
    1025,
    4096,
    4097,
    224.0,
    "224",
    0.5,
    0.999,
    True,
    False,
    "auto",
    "linear",
    "none",
    None,
]


def test_params_yaml_sets_each_by_its_name():
    assert set(SlideSettings.model_fields) == {*SETTINGS, "splits", "precision"}
    params = load_profile("phantom")
    assert Parameters.of(params.slides) == DEFAULTS  # of the phantom, as shipped
    assert Parameters.of(params.slides).recorded().items() <= params.slides.model_dump().items()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", VALUES)
def test_params_yaml_and_a_model_take_the_same_values(name, value):
    adapter = TypeAdapter(Params.model_fields["slides"].annotation)
    content = load_profile("phantom").slides.model_dump() | {name: value}
    try:
        adapter.validate_python(content)
        taken = True
    except ValidationError as error:
        taken = {item["type"] for item in error.errors()} == {DISAGREEMENT}  # with the window, and not by itself
    if value is False and "off" in choices_of(TYPES[name]):
        value = "off"  # as it may stand in YAML, and no model has it
    assert taken == (not list(faults({name: value})))


@pytest.mark.parametrize(
    ("window", "overlap"), [(224, 0.99), (64, 0.9), (32, 0.75), (33, 0.76), (4096, 0.9985), (40, 0.8)]
)
def test_params_yaml_a_model_and_a_command_line_want_windows_that_move(window, overlap, tmp_path):
    values = {"window": window, "overlap": overlap}
    content = load_profile("phantom").model_dump(mode="json", by_alias=True)
    content["slides"] |= values
    (tmp_path / "weights.pth").touch()
    (tmp_path / "model.json").write_text(json.dumps({"format": 1, "validated": values}))
    untold = build_parser().parse_args(["segment", "a.svs"])
    told = build_parser().parse_args(["segment", "a.svs", f"--window={window}", f"--overlap={overlap}"])
    if round(window * (1 - overlap)) >= STRIDE:
        assert Params.model_validate(content).slides.window == window
        assert not list(faults(values))
        assert _parameters(untold, tmp_path) == _parameters(told, tmp_path)
        return
    says = f"{overlap:g} moves windows of {window} px by "
    with pytest.raises(ValidationError, match=says):
        Params.model_validate(content)
    with pytest.raises(InputError, match=rf"model\.json: validated\.overlap: {says}"):
        _parameters(untold, tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(InputError, match=rf"^--overlap: {says}"):
        _parameters(told, tmp_path)


def test_the_command_line_has_an_option_for_each():
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    options = {action.dest: action for action in commands.choices["segment"]._actions}
    for item in fields(Parameters):
        option = options[item.name]
        assert str(option.default).startswith(str(item.default))
        assert option.help.startswith(SETTINGS[item.name].help)
        kind = TYPES[item.name]
        assert (option.choices is None) == (kind is bool or number_of(kind) is not None)


def test_segment_slide_takes_each_as_a_keyword(tmp_path, predict, tissue):
    tifffile.imwrite(tmp_path / "a.tiff", tissue(80, 80), tile=(64, 64), photometric="rgb", metadata=None)
    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    given = vars(Parameters(window=48, overlap=0.25, min_hole=np.float64(3), batch_size=2, readers=0))
    summary = segment_slide(tmp_path / "a.tiff", model, tmp_path / "out", mpp_override=1.0, progress=False, **given)
    assert summary["parameters"] == Parameters(**given).recorded()
    assert {"batch_size", "readers"}.isdisjoint(summary["parameters"])
    with pytest.raises(TypeError, match="windows"):
        segment_slide(tmp_path / "a.tiff", model, tmp_path / "out", windows=48)


def test_each_decides_one_thing():
    assert [*DEFAULTS.deciding("map", "export", "pace")] == [item.name for item in fields(Parameters)]
    assert not DEFAULTS.deciding("map").keys() & DEFAULTS.deciding("export").keys()
    assert DEFAULTS.carried().keys() <= DEFAULTS.recorded().keys()
