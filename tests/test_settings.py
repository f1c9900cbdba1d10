import pytest
import yaml
from pydantic import ValidationError

from tests.settings import content_of, copy_profile, write_settings
from wsss_mm.errors import InputError
from wsss_mm.settings import Params, load_params


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
        ("seed: 1\nseed: 2", "seed is given twice"),
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
    content["cohort"]["name"] = "wsss4luad"
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


def test_a_message_names_ten_faults_and_counts_the_rest(content, tmp_path):
    with pytest.raises(InputError) as caught:
        load_params(edited(content, tmp_path, **{f"classifier__{'x' * 100}{number}": 1 for number in range(12)}))
    assert str(caught.value).count("not a parameter") == 10
    assert str(caught.value).endswith("; and 2 more")
    assert len(str(caught.value)) < 2000


def _numbers(content, place=()):
    """Places of the numbers in params.yaml."""
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
            copy = yaml.safe_load(yaml.safe_dump(content))
            inner = copy
            for part in place[:-1]:
                inner = inner[part]
            inner[place[-1]] = yaml.safe_load(word)
            with pytest.raises(ValidationError) as caught:
                Params.model_validate(copy)
            assert caught.value.errors()[0]["loc"][: len(place)] == place
