"""A value of params.yaml enters a config file by its name; what else the file says is what is built, or an error."""

import ast
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.engine.configs import _BUILT, ConfigValue, _replaced, load_config
from wsss_mm.engine.training import given_values
from wsss_mm.errors import InputError
from wsss_mm.models.config_files import read_config_file, trusted_modules
from wsss_mm.settings import load_profile

KINDS = ["classifier", "segmenter"]
FOUND = {
    "classifier": ("codes", "patches", "processes", "train_patches", "one_size"),
    "segmenter": (
        *("codes", "patches", "processes", "train_patches", "one_size", "target", "split", "pseudo_labels"),
        "classifier",
    ),
}
SAID = {
    "codes": ["TE", "NEC", "LYM", "TAS"],
    "patches": "data/patches",
    "pseudo_labels": "data/pseudo_labels",
    "classifier": "models/classifier",
    "processes": 1,
    "train_patches": 385,
    "one_size": True,
    "target": "pseudo",
    "split": "train",
}


def values(kind, params=None):
    found = {name: SAID[name] for name in FOUND[kind]}
    return given_values(kind, params or load_profile("phantom"), found)


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("wsss_mm")]


class TestTheFilesThere:
    @pytest.mark.parametrize("kind", KINDS)
    def test_they_name_all_that_is_given_as_it_is(self, project_root, kind, lines):
        """Nothing of params.yaml is without effect, and nothing in the files differs from the default profile."""
        path = project_root / "mmconfigs" / f"{kind}.py"
        said = {name: ast.literal_eval(node) for name, node in read_config_file(path).assignments() if _plain(node)}
        usual = {name: item.usual for name, item in values(kind).items()}
        assert {name: said[name] for name in usual} == usual
        assert load_config(path, values(kind)).to_dict() == load_config(path).to_dict()
        assert lines() == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_rests_on_its_own_file_and_what_both_share(self, project_root, kind):
        files = [
            file.path.relative_to(project_root)
            for file in read_config_file(project_root / f"mmconfigs/{kind}.py").files()
        ]
        assert files == [Path(f"mmconfigs/{kind}.py"), Path("mmconfigs/_base_/runtime.py")]
        lines = (project_root / "dvc.yaml").read_text().splitlines()
        first = lines.index(f"  train_{kind}:")
        stage = lines[first : lines.index("", first)]
        assert [line.strip(" -") for line in stage if "mmconfigs" in line] == sorted(path.as_posix() for path in files)

    @pytest.mark.parametrize("width", [1.0, 0.125, 1 / 32, 1 / 4096])
    def test_a_width_scales_all_channels(self, project_root, width):
        model = load_config(project_root / "mmconfigs/segmenter.py", {"width": width}).model
        assert model.decode_head.in_channels == max(1, round(4096 * width))
        assert model.auxiliary_head.in_channels == max(1, round(1024 * width))
        assert model.decode_head.channels == max(1, round(512 * width))
        assert model.auxiliary_head.channels == max(1, round(256 * width))


def _plain(node):
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def test_values_take_the_place_of_the_files(write):
    path = write(
        "_base_ = []\ncrop = 192  # px\nsize = [\n  1,\n  2,\n]\nmodel = dict(crop=crop, size=size)\nwork_dir = 'ä'\n"
    )
    found = load_config(path, {"crop": 64, "size": [3, 4]})
    assert (found.model, found.work_dir) == ({"crop": 64, "size": [3, 4]}, "ä")
    assert "crop" not in found  # a name that only helps to write the file


def test_values_reach_the_bases(write):
    write("width = 0.5\nmodel = dict(width=width)\n", "base.py")
    path = write("_base_ = ['base.py']\ntrain_cfg = dict(width=_base_.width)\n")
    found = load_config(path, {"width": 0.25})
    assert (found.model.width, found.train_cfg.width) == (0.25, 0.25)


@given(
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=50)
def test_every_plain_value_arrives_and_no_line_moves(items):
    text = 'ä = "ü"; a = [1,\n 2]; b = a\nc = a\n'
    node = ast.parse(text).body[1].value
    replaced = _replaced(text, [(node, items)]).decode()
    assert replaced.count("\n") == text.count("\n")
    content = {part.targets[0].id: part for part in ast.parse(replaced).body}
    assert ast.literal_eval(content["a"].value) == items
    assert content["c"].lineno == 3


class TestEdits:
    """What somebody writes into a file wins, or is an error."""

    GIVEN = ConfigValue(192, 192, "params.yaml: segmenter.crop")

    def test_of_a_value_that_params_yaml_sets(self, write):
        path = write("_base_ = []\ncrop = 256\nmodel = dict(crop=crop)\n")
        with pytest.raises(
            InputError,
            match=r"mine\.py, line 2: crop = 256 would be lost: params\.yaml: segmenter\.crop sets it, to 192; change "
            "it there, or write 256 where crop is used",
        ):
            load_config(path, {"crop": self.GIVEN})
        assert load_config(path, {"crop": ConfigValue(256, 192, "params.yaml: segmenter.crop")}).model.crop == 256

    def test_a_truth_value_is_no_number(self, write):
        path = write("_base_ = []\nmosaic = False\nmodel = dict(mosaic=mosaic)\n")
        with pytest.raises(InputError, match="mosaic = False would be lost"):
            load_config(path, {"mosaic": ConfigValue(0.0, 0.0, "params.yaml: segmenter.mosaic")})

    @pytest.mark.parametrize(
        ("text", "crop", "how"),
        [
            ("crop = 192\nmodel = dict(crop=256)\n", 256, "does not use it"),
            ("crop = 192\nmodel = dict(crop=256)\nnote = dict(crop=crop)\n", 256, "does not use it"),
            ("model = dict(crop=256)\n", 256, "does not use it"),
            ("crop = 2 * 128\nmodel = dict(crop=crop)\n", 256, "works it out itself"),
            ("side = crop = 256\nmodel = dict(crop=crop)\n", 256, "works it out itself"),
        ],
    )
    def test_of_where_it_is_used(self, write, lines, text, crop, how):
        path = write("_base_ = []\n" + text)
        assert load_config(path, {"crop": self.GIVEN}).model.crop == crop
        said = lines()
        assert f"params.yaml: segmenter.crop has no effect: {path} {how}" in said
        assert said[:-1] == ([f"{path}, line 4: note has no effect: nothing uses it"] if "note" in text else [])

    @pytest.mark.parametrize(
        "again",
        [
            "if True:\n    crop = 64",
            "crop //= 3",
            "for crop in (64,):\n    pass",
            "sides = [(crop := 64)]",
            "(crop, _) = 64, 1",
        ],
    )
    def test_of_the_name_once_more(self, write, lines, again):
        """What the file says is built; that the value of params.yaml is not, or not as it is, is said."""
        path = write(f"_base_ = []\ncrop = 192\n{again}\nmodel = dict(crop=crop)\n")
        assert load_config(path, {"crop": self.GIVEN}).model.crop == 64
        assert f"params.yaml: segmenter.crop may not hold: {path}, line {3 + ('if' in again)}" in lines()[-1]

    @pytest.mark.parametrize("name", sorted(_BUILT - {"amp", "cfg"}))
    def test_a_misspelt_name_of_mmengine_is_not_lost(self, write, lines, name):
        """A letter is lost, twice there, or exchanged with the next."""
        half = len(name) // 2
        for wrong in (name[:-1], f"{name[:half]}{name[half - 1]}{name[half:]}", f"{name[:-2]}{name[-1]}{name[-2]}"):
            if wrong in _BUILT or wrong == name:
                continue
            path = write(f"_base_ = []\npart = dict(a=1)\n{wrong} = dict(part=part)\nmodel = dict()\n")
            try:
                load_config(path, {})
            except InputError as error:
                assert f"mine.py, line 3: {wrong} would be lost: mmengine takes no such name; did you mean" in str(
                    error
                )
            else:  # a short name has other neighbours
                assert lines()[-1] == f"{path}, line 3: {wrong} has no effect: nothing uses it"
                assert len(name) < 8

    @pytest.mark.parametrize(
        "use",
        [
            "model = dict(crop=crop)",
            "half = crop // 2\nmodel = dict(crop=half)",
            "model = dict()\nmodel['crop'] = crop",
            "model = dict()\nmodel.update(crop=crop)",
            "steps = []\nfor side in (1, 2):\n    steps.append(side * crop)\ntrain_dataloader = dict(steps=steps)",
            "custom_hooks = [dict(crop=crop) for _ in range(2)]",
        ],
    )
    def test_every_way_of_using_it_is_seen(self, write, lines, use):
        path = write(f"_base_ = []\ncrop = 192\n{use}\n")
        one, two = (load_config(path, {"crop": ConfigValue(value, 192, "x")}).to_dict() for value in (192, 64))
        assert one != two
        assert lines() == []


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("_base_ = []\ncrop = (\n", r"mine\.py, line 2: '\(' was never closed"),
            (
                "_base_ = []\nx = 1\nmodel = dict(crop=crop)\n",
                r"mine\.py, line 3: NameError: name 'crop' is not defined; correct",
            ),
            ("_base_ = ['none.py']\n", r"none\.py: not found; restore it: git checkout"),
            ("_base_ = ['mine.py']\n", r"mine\.py: rests on itself by _base_; take it out of there"),
            ("_base_ = ['.']\n", r": not readable: Is a directory"),
            ("_base_ = [1]\n", r"mine\.py, line 1: _base_ must list paths"),
            (
                "_base_ = []\ncustom_imports = dict(imports=['no_such_module'])\n",
                r"mine\.py: custom_imports: no_such_module cannot be imported \(No module .*\); install its package",
            ),
        ],
    )
    def test_the_file_and_the_line_are_named(self, write, text, message):
        path = write(text)
        with pytest.raises(InputError, match=message) as caught:
            load_config(path, {})
        assert "\n" not in str(caught.value)

    def test_one_that_is_not_there(self, tmp_path):
        with pytest.raises(InputError, match=r"segmenter\.py: not found"):
            load_config(tmp_path / "segmenter.py", {})


class TestTrustedModules:
    @pytest.mark.parametrize(
        "line",
        [
            "custom_imports = dict(imports=['lab.heads', 'lab.losses'], allow_failed_imports=False)",
            "custom_imports = {'imports': ['lab.heads', 'lab.losses']}",
        ],
    )
    def test_they_are_read_without_running_the_file(self, write, line):
        write("custom_imports = dict(imports='lab.base')\n", "base.py")
        path = write(f"_base_ = 'base.py'\n{line}\nraise SystemExit\n")
        assert trusted_modules(path) == ("lab.heads", "lab.losses", "lab.base")

    @pytest.mark.parametrize("line", ["custom_imports = make()", "custom_imports = dict(imports=NAMES)"])
    def test_others_are_refused(self, write, line):
        with pytest.raises(InputError, match=r"mine\.py, line 1: later stages read custom_imports without running"):
            trusted_modules(write(f"{line}\n"))
