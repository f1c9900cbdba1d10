import re
import subprocess
import sys
from copy import deepcopy

import pytest
import yaml
from dvc.utils.serialize import loads_yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml.error import YAMLError

from tests.settings import content_of, copy_profile, write_settings
from wsss_mm.encoders import layers
from wsss_mm.errors import InputError
from wsss_mm.settings import Params, check_names, load_params
from wsss_mm.yaml_places import parse

GATES = list(content_of("phantom")["gates"])


@pytest.fixture
def content():
    return content_of("phantom")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("classifier", "epochs", 0),
        ("classifier", "epoch", 3),
        ("patches", "mpp", -1),
        ("segmenter", "loss", "dice"),
        ("cohort", "name", "unknown"),
        ("slides", "overlap", 1.0),
        ("slides", "splits", []),
        ("segmenter", "precision", "fp8"),
    ],
)
def test_a_wrong_value_is_named(content, tmp_path, section, key, value):
    content[section][key] = value
    path = write_settings(tmp_path, content)
    lines = path.read_text().splitlines()
    line = next(
        number
        for number, text in enumerate(lines, 1)
        if text.startswith(f"  {key}:") and f"{section}:" in [t for t in lines[:number] if not t.startswith(" ")][-1]
    )
    with pytest.raises(InputError, match=rf"params\.yaml: line {line}: {section}\.{key}: ") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def edited(content, tmp_path, **changes):
    for place, value in changes.items():
        section, _, key = place.partition("__")
        content[section][key] = value
    return write_settings(tmp_path, content)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classifier__epoch": 3}, "classifier.epoch: not a parameter; did you mean epochs?"),
        ({"register__modelname": "x"}, "register.modelname: not a parameter; did you mean model_name?"),
        ({"segmenter__loss": "ons"}, "ons is not one of onss, onss_margin, ce; did you mean onss?"),
        ({"classifier__lr": float("inf")}, "classifier.lr: Input should be a finite number"),
        (
            {"classifier__epochs": True},
            "classifier.epochs: Input should be a valid integer, but it is true",
        ),
        ({"classifier__weights": "/a/b.params"}, "classifier.weights: DVC watches no weights outside of pretrained/: "),
        ({"classifier__weights": "pretrained/b.params"}, "put the file there, and give its name alone: b.params"),
        ({"classifier__weights": ".."}, "classifier.weights: DVC watches no weights outside of pretrained/: "),
        ({"segmenter__weights": "None"}, "segmenter.weights: is text; for no weights, write null"),
        ({"segmenter__init": "weights"}, "segmenter.weights: init is weights, but weights is null"),
        ({"segmenter__width": 0.25}, "segmenter.width: 0.25 is not classifier.width 0.125"),
        ({"classifier__weights": "a.params"}, "classifier.weights: are of the full network, but width is 0.125"),
        ({"classifier__scale_jitter": [1.2, 0.8]}, "classifier.scale_jitter: [1.2, 0.8] is no range"),
        (
            {"gates__cohort": {"mpp": [4.0, 0.1]}},
            ": cohort.mpp: [4.0, 0.1] is no range: nothing could pass",
        ),
        ({"gates__patches": {"brightness": [200, 60]}}, "patches.brightness: [200.0, 60.0] is no range"),
        ({"classifier__epochs": 2**63}, "classifier.epochs: Input should be less than 2147483648"),
        ({"slides__readers": 2000}, "slides.readers: Input should be less than or equal to 1024"),
        *(
            ({"register__model_name": name}, "register.model_name: is no model's name: give letters")
            for name in ("", "  ", "a/b", "a:1", "a@champion", "it's", "a\nb", "x" * 300)
        ),
        ({"classifier__lr": "0.001"}, "classifier.lr: Input should be a valid number, but it is text: leave out the q"),
        ({"classifier__epochs": 3.0}, "classifier.epochs: Input should be a valid integer, but it is 3.0"),
        ({"classifier__rotate": 1}, "classifier.rotate: Input should be a valid boolean, but it is 1"),
        ({"cohort__labels": ""}, "cohort.labels: names no file or folder; give the path of one"),
        ({"cohort__phantom": "big"}, "cohort.phantom: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_comes_with_a_suggestion(content, tmp_path, changes, says):
    with pytest.raises(InputError) as caught:
        load_params(edited(content, tmp_path, **changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_looked_for_in_its_section(tmp_path):
    path = copy_profile(tmp_path)
    text = path.read_text().replace("  epochs:", "  # epochs:", 1)
    path.write_text(text)
    line = text.splitlines().index("classifier:") + 1
    with pytest.raises(InputError, match=rf"line {line}: classifier\.epochs: is missing"):
        load_params(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no sections"),
        ("- 1", "holds no sections"),
        ("seed: 1\nseed: 2", 'duplicate key "seed"'),
        ("seed: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("seed: 2026-13-45", "not valid YAML"),
        ("seed: !!timestamp x", "not valid YAML"),
        ("a: &a [*a]", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("seed: \x00", "not valid YAML"),
    ],
)
def test_what_is_no_params_file_is_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_batch_is_worked_off_in_equal_pieces(content, tmp_path):
    content["segmenter"] |= {"batch_size": 10, "accumulate": 4}
    path = write_settings(tmp_path, content)
    with pytest.raises(InputError, match=r"segmenter\.accumulate: batch_size 10 must be a multiple of accumulate 4"):
        load_params(path)


def test_no_file_and_no_yaml_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")


def test_cam_at_another_layer_is_an_error(content, tmp_path):
    content["pseudo_labels"] |= {"method": "cam", "layer": "b5_2"}
    write_settings(tmp_path, content)
    with pytest.raises(InputError, match=r"pseudo_labels\.layer: method cam exists at layer bn7 alone"):
        load_params(tmp_path / "params.yaml")


def test_classes_normalised_by_themselves_need_to_be_gated(content, tmp_path):
    content["pseudo_labels"] |= {"normalization": "class", "gating": "predicted"}
    write_settings(tmp_path, content)
    assert load_params(tmp_path / "params.yaml").pseudo_labels.normalization == "class"
    content["pseudo_labels"]["gating"] = "off"
    write_settings(tmp_path, content)
    with pytest.raises(InputError, match=r"normalization: class with gating off gives every patch"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(("section", "name"), [("pseudo_labels", "neighbours"), ("segmenter", "surroundings")])
def test_places_on_slides_are_not_those_of_patches(content, tmp_path, section, name):
    content[section][name] = True
    write_settings(tmp_path, content)
    with pytest.raises(InputError, match=rf"{section}\.{name}: is for data sets of patches.*set it to false"):
        load_params(tmp_path / "params.yaml")
    content["cohort"] |= {"name": "wsss4luad", "source": "data/raw"}
    write_settings(tmp_path, content)
    assert getattr(getattr(load_params(tmp_path / "params.yaml"), section), name)


def test_off_needs_no_quotes_as_dvc_writes_none(content, tmp_path):
    path = edited(content, tmp_path, classifier__attention="OFF?", pseudo_labels__gating="OFF?")
    path.write_text(path.read_text().replace("OFF?", "off"))  # plain, which YAML 1.1 reads as false
    params = load_params(path)
    assert (params.classifier.attention, params.pseudo_labels.gating) == ("off", "off")


def test_aliases_that_multiply_are_refused_before_they_do(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"params\.yaml: not valid YAML: more than 10000 values, aliases counted"):
        load_params(path)


@pytest.mark.parametrize("number", ["010", "0o12", "1_0", "+10"])
def test_a_number_is_read_as_dvc_reads_it_whatever_older_yaml_makes_of_it(tmp_path, number):
    path = copy_profile(tmp_path)
    path.write_text(path.read_text().replace("  batch_size: 8\n", f"  batch_size: {number}\n"))
    assert load_params(path).classifier.batch_size == 10


def test_a_time_is_no_number(tmp_path):
    path = copy_profile(tmp_path)
    path.write_text(path.read_text().replace("  batch_size: 8\n", "  batch_size: 1:30\n"))
    with pytest.raises(InputError, match=r"line \d+: classifier\.batch_size: .*but it is 1:30"):
        load_params(path)


@given(st.from_regex(r"\A[-+]?[0-9][0-9_]{0,3}([.:][0-9_]{0,3})?([eE][-+]?[0-9]{1,2})?\Z"))
def test_a_number_is_the_same_to_dvc(text):
    try:
        value = parse(f"a: {text}").content["a"]
    except YAMLError:  # "0:" ends in a colon
        return
    known = loads_yaml(f"a: {text}")["a"]
    assert (value, type(value)) == (known, type(known))


def test_exponents_need_no_point(tmp_path):
    path = copy_profile(tmp_path)
    path.write_text(path.read_text().replace("  lr: 0.0007", "  lr: 7e-4"))
    assert load_params(path).classifier.lr == 0.0007


def test_a_message_names_ten_faults_and_counts_the_rest(content, tmp_path):
    with pytest.raises(InputError) as caught:
        load_params(edited(content, tmp_path, **{f"classifier__{'x' * 100}{number}": 1 for number in range(12)}))
    assert str(caught.value).count("not a parameter") == 10
    assert str(caught.value).endswith("; and 2 more")
    assert len(str(caught.value)) < 2000


# -- every value of both files


def leaves(content, place=()):
    """Places of all values, lists as wholes."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, (*place, key))
        else:
            yield (*place, key)


PLACES = list(leaves(content_of("phantom")))


def with_value(place, value):
    changed = content_of("phantom")
    inner = changed
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return changed


def line_of(path, place):
    """Line of a key in a file that yaml.safe_dump wrote."""
    return parse(path.read_text()).lines[place]


def refusal(folder, place, value):
    """What is said of a value at a place; it must begin with file, line and name."""
    path = write_settings(folder, with_value(place, value))
    with pytest.raises(InputError) as caught:
        load_params(path)
    text = str(caught.value)
    assert "\n" not in text
    file, inner = ("gates.yaml", place[1:]) if place[0] == "gates" else ("params.yaml", place)
    found = re.match(rf"{re.escape(str(folder / file))}: line (\d+): {re.escape('.'.join(inner))}((?:\.\d+)*): ", text)
    assert found, text
    lines, index = parse((folder / file).read_text()).lines, [int(part) for part in found[2].split(".") if part]
    assert int(found[1]) == lines.get((*inner, *index), lines[inner])
    return text


def _wrong_values(place):
    """Values that are wrong wherever they stand: of another type, out of every range, or nothing."""
    value = content_of("phantom")
    for part in place:
        value = value[part]
    yield {"a": 1}
    if place not in OPTIONAL:
        yield None
    if isinstance(value, bool):
        yield from ("yes!", "true", 7, 1, 0.0, [True])
    elif isinstance(value, int | float):
        yield from ("much", -7, float("inf"), float("nan"), [1, 2, 3], True, str(value), "1e400")
    elif isinstance(value, list):
        yield from ("one", 7, [{}], [[1]])
        if value and not isinstance(value[0], str):
            yield from (["a", "b"], [float("nan"), 1])
            if place[-1] not in DENSITIES:
                yield [-7, -7]
    elif place not in TEXTS:
        yield from ("nothing like it", -7, ["a"])
    else:
        yield from (7, ["a"])
    if place in PATHS:
        yield from ("", "  ", ".", "data", "data/../data/cohort/x", "models/classifier", "a\0b", "/")


OPTIONAL = {
    *(("classifier", "weights"), ("segmenter", "weights"), ("segmenter", "auxiliary_stage")),
    ("segmenter", "cycle"),
    ("register", "model_name"),
}
DENSITIES = ("haematoxylin", "eosin")  # unmixing may give any number
PATHS = {("cohort", "source"), ("cohort", "labels")}
TEXTS = {("cohort", "vocabulary"), ("cohort", "labels"), *OPTIONAL} - {("segmenter", "cycle")}


def test_all_files_are_covered():
    assert len(PLACES) > 140
    assert {place[0] for place in PLACES} >= {"seed", "cohort", "segmenter", "gates", "register"}


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_no_wrong_value_passes_and_each_is_named_with_its_line(place, tmp_path):
    for value in _wrong_values(place):
        refusal(tmp_path, place, value)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_misspelt_key_is_named_with_its_line_and_the_right_one(place, tmp_path):
    """A letter is lost, or written twice."""
    name = place[-1]
    for wrong in (name[:-1], f"{name[0]}{name}"):
        content = content_of("phantom")
        inner = content
        for part in place[:-1]:
            inner = inner[part]
        inner[wrong] = inner.pop(name)
        path = write_settings(tmp_path, content)
        with pytest.raises(InputError) as caught:
            load_params(path)
        file = "gates.yaml" if place[0] == "gates" else "params.yaml"
        inside = (*place[:-1], wrong)[1 if place[0] == "gates" else 0 :]
        text = str(caught.value)
        assert "\n" not in text
        assert f"{file}: line {line_of(tmp_path / file, inside)}: {'.'.join(inside)}: " in text
        assert "; did you mean " in text


@pytest.mark.parametrize("place", [place for place in PLACES if place[-1] == "warnings"], ids=".".join)
def test_a_warning_is_a_check_of_its_gate(place, tmp_path):
    gate = place[1]
    right = check_names(gate)[-1]
    others = [name for other in GATES if other != gate for name in check_names(other) if name not in check_names(gate)]
    assert "did you mean" in refusal(tmp_path, place, [right[:-1] + "x"])
    assert "which is one of gate" in refusal(tmp_path, place, [right, others[0]])
    assert "choose from" in refusal(tmp_path, place, ["zzzzzz"])
    load_params(write_settings(tmp_path, with_value(place, [right])))


@pytest.mark.parametrize(("layer", "right"), [(["bn7", "b6"], True), ([], False), (["bn7", "b9"], False)])
def test_layers_are_fused_if_the_backbone_has_them_all(layer, right):
    content = with_value(("pseudo_labels", "layer"), layer)
    if right:
        assert Params.model_validate(content).pseudo_labels.layer == tuple(layer)
    else:
        with pytest.raises(ValidationError, match="layer"):
            Params.model_validate(content)


@given(st.text(st.sampled_from("b234567n_15 x"), max_size=6) | st.sampled_from(layers()))
def test_a_layer_is_one_that_the_backbone_has(layer):
    content = with_value(("pseudo_labels", "layer"), layer)
    if layer in layers():
        assert Params.model_validate(content).pseudo_labels.layer == layer
    else:
        with pytest.raises(ValidationError, match="resnet38 has no layer"):
            Params.model_validate(content)


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        (
            {"pseudo_labels__layer": "b7_5"},
            "pseudo_labels.layer",
            "resnet38 has no layer 'b7_5'; did you mean b4_5",
        ),
        ({"pseudo_labels__layer": "head"}, "pseudo_labels.layer", "resnet38 has no layer 'head'"),
        ({"classifier__encoder": "resnet83"}, "classifier.encoder", "no encoder 'resnet83'; did you mean resnet38"),
        (
            {"segmenter__encoder": "efficientnet_lite0"},
            "segmenter.encoder",
            "efficientnet_lite0 is not classifier.encoder resnet38, but segmenter.init is classifier",
        ),
        (
            {"classifier__encoder": "efficientnet_lite0", "segmenter__encoder": "efficientnet_lite0"},
            "pseudo_labels.layer",
            "efficientnet_lite0 has no layer 'bn7'; choose from stem, stage1",
        ),
        (
            {"segmenter__encoder": "efficientnet_lite0", "segmenter__init": "none", "segmenter__width": 1.0},
            "segmenter.width",
            "is of resnet38 alone, efficientnet_lite0 has one size; set it to 0.125",
        ),
        ({"classifier__freeze": "all"}, "classifier.freeze", "all keeps weights that never learnt anything"),
        ({"segmenter__freeze": "stem", "segmenter__init": "none"}, "segmenter.freeze", "stem keeps weights that never"),
        (
            {"segmenter__auxiliary_stage": "b7"},
            "segmenter.auxiliary_stage",
            "resnet38 has no stage 'b7' below its last",
        ),
        ({"segmenter__crop": 225}, "segmenter.crop", "225 px are more than patches.size 224"),
        ({"patches__size": 160}, "segmenter.crop", "192 px are more than patches.size 160"),
        ({"segmenter__accumulate": 16}, "segmenter.accumulate", "leaves one crop of batch_size 16 to a piece"),
        ({"slides__overlap": 0.99}, "slides.overlap", "0.99 moves windows of 224 px by 2 px"),
        ({"pseudo_labels__scales": [1.0, 0.01]}, "pseudo_labels.scales.1", "0.01 shows patches of 224 px"),
        ({"evaluate__scales": [100]}, "evaluate.scales.0", "100 shows patches of 224 px to the network with 22400 px"),
        ({"cohort__labels": "data"}, "cohort.labels", "data holds data/cohort, which the line makes"),
        ({"patches__mpp": 20}, "patches.size", "224 px at patches.mpp 20 are more than the 2048 um"),
        ({"cohort__source": "data/raw/slides"}, "cohort.source", "data/raw/slides is read by no cohort that is gen"),
        ({"cohort__name": "slides"}, "cohort.source", "is the code of the phantom, but cohort.name is slides"),
        (
            {"cohort__name": "slides", "cohort__source": "data/cohort/slides.csv"},
            "cohort.source",
            "data/cohort/slides.csv is made by the line",
        ),
        (
            {
                "cohort__name": "slides",
                "cohort__source": "own/s.csv",
                "cohort__labels": "own/../data/cohort/labels.csv",
            },
            "cohort.labels",
            "own/../data/cohort/labels.csv is made by the line",
        ),
        ({"cohort__phantom": {"slides": {"train": 2}, "size": 2048}}, "cohort.phantom.slides", "has no test"),
        ({"gates__classifier": {"min_predicted": 0.999}}, "classifier.min_predicted", "0.999 is above max_predicted"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(content, tmp_path, changes, place, says):
    for key, value in list(changes.items()):
        section, _, name = key.partition("__")
        if isinstance(value, dict) and name in content[section]:
            changes[key] = content[section][name] | value
    path = edited(content, tmp_path, **changes)
    file = path.with_name("gates.yaml") if "gates" in next(iter(changes)) else path
    parts = tuple(int(part) if part.isdigit() else part for part in place.split("."))
    with pytest.raises(InputError) as caught:
        load_params(path)
    assert f"{file}: line {line_of(file, parts)}: {place}: {says}" in str(caught.value)


def test_neighbours_are_asked_of_label_sets_alone(content, tmp_path):
    content["cohort"] |= {"name": "wsss4luad", "source": "data/raw"}
    content["pseudo_labels"] |= {"neighbours": True, "gating": "predicted"}
    with pytest.raises(InputError, match=r"pseudo_labels\.neighbours: narrows label sets, which gating predicted"):
        load_params(write_settings(tmp_path, content))


def test_faults_of_both_files_are_told_at_once(content, tmp_path):
    content["seed"], content["gates"]["slides"]["max_seam"] = "one", 0
    path = write_settings(tmp_path, content)
    both = r"params\.yaml: line \d+: seed: .*; \S*gates\.yaml: line \d+: slides\.max_seam: "
    with pytest.raises(InputError, match=both):
        load_params(path)


def test_thresholds_in_params_yaml_are_sent_to_their_file(content, tmp_path):
    """As they stood in older days."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    line = line_of(path, ("gates",))
    with pytest.raises(InputError, match=rf"line {line}: gates: thresholds of gates stand in gates\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
    assert "wsss-mm profile" in str(caught.value)


def test_without_thresholds_the_remedy_is_named(tmp_path):
    path = copy_profile(tmp_path)
    path.with_name("gates.yaml").unlink()
    with pytest.raises(InputError, match=r"gates\.yaml: not found; .*wsss-mm profile"):
        load_params(path)


def test_settings_are_light():
    """`wsss-mm --help` and every stage load them: nothing of torch, pandas or Great Expectations.

    Once they are read, numpy has measured how unlike the colours of the classes are.
    """
    code = "import sys, wsss_mm.settings as s; print(*sys.modules); s.load_profile('tiny'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, read = (set(line.split()) for line in done.stdout.splitlines())
    heavy = {"torch", "pandas", "great_expectations", "mmengine"}
    assert not (heavy | {"numpy"}) & imported
    assert not heavy & read


def _numbers(content, place=()):
    """Places of the numbers."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value, (*place, key))
        elif isinstance(value, list) and value and isinstance(value[0], int | float):
            yield from ((*place, key, index) for index in range(len(value)))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*place, key)


def test_a_truth_value_is_no_number_anywhere(content):
    places = list(_numbers(content))
    assert len(places) > 100
    for place in places:
        for word in ("off", "yes"):
            inner = copy = deepcopy(content)
            for part in place[:-1]:
                inner = inner[part]
            inner[place[-1]] = yaml.safe_load(word)
            with pytest.raises(ValidationError) as caught:
                Params.model_validate(copy)
            assert caught.value.errors()[0]["loc"][: len(place)] == place


def test_sizes_and_windows_are_held_against_the_encoder(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = "stages: {a: [8, 8], b: [8, 16], c: [8, 32]}, licence: MIT, sizes: {multiple: 32, least: 200}"
    (tmp_path / "encoders.yaml").write_text(f"coarse: {{loader: timm, architecture: x, {row}}}")
    for section in ("classifier", "segmenter"):
        content[section]["encoder"] = "coarse"
    content["pseudo_labels"]["layer"] = "b"
    content["slides"]["overlap"] = 0.9
    path = write_settings(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load_params(path)
    said = str(caught.value)
    assert (
        "pseudo_labels.layer: coarse has no layer 'b'" in said
    )  # what another package's network gives CAMs at is last
    assert "pseudo_labels.scales.0: classifier.encoder coarse takes images of 200 px and more, not of 168 px" in said
    assert "segmenter.crop: segmenter.encoder coarse takes images of 200 px and more, not of 192 px" in said
    assert "slides.overlap: 0.9 moves windows of 224 px by 22 px, less than the 32 px of the network's features" in said
    content["pseudo_labels"]["scales"], content["segmenter"]["crop"], content["slides"]["overlap"] = [1.0], 224, 0.5
    content["pseudo_labels"]["layer"] = "c"
    loaded = load_params(write_settings(tmp_path, content))
    assert (loaded.pseudo_labels.layer, loaded.segmenter.encoder) == ("c", "coarse")


@pytest.mark.parametrize(("stride", "overlap", "moves"), [(4, 0.98, True), (4, 0.99, False), (16, 0.95, False)])
def test_windows_move_by_a_feature_of_the_segmenters_own_encoder(
    content, tmp_path, monkeypatch, stride, overlap, moves
):
    """Of 224 px, by 4, 2 and 11 px: neither more nor less than what `wsss-mm segment` wants of the model."""
    monkeypatch.chdir(tmp_path)
    row = f"stages: {{a: [8, 2], b: [8, 2], c: [8, {stride}]}}, licence: MIT"
    (tmp_path / "encoders.yaml").write_text(f"own: {{loader: timm, architecture: x, {row}}}")
    for section in ("classifier", "segmenter"):
        content[section]["encoder"] = "own"
    content["pseudo_labels"]["layer"], content["slides"]["overlap"] = "last", overlap
    path = write_settings(tmp_path, content)
    if moves:
        assert load_params(path).slides.overlap == overlap
        return
    with pytest.raises(InputError, match=f"slides.overlap: .* less than the {stride} px of the network's features"):
        load_params(path)


def test_a_width_that_means_nothing_is_that_of_the_profile(content):
    from wsss_mm.settings.trainings import _WIDTH

    assert {content[section]["width"] for section in ("classifier", "segmenter")} == {_WIDTH}
