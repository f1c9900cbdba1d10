import pytest
import yaml

from wsss_mm.errors import InputError
from wsss_mm.settings import load_params


@pytest.fixture
def content(project_root):
    return yaml.safe_load((project_root / "params.yaml").read_text())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("classifier", "epochs", 0),
        ("classifier", "epoch", 3),
        ("patches", "mpp", -1),
        ("segmenter", "loss", "dice"),
        ("cohort", "name", "unknown"),
        ("slides", "overlap", 1.0),
    ],
)
def test_a_wrong_value_is_named(content, tmp_path, section, key, value):
    content[section][key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=rf"params\.yaml: {section}\.{key}: ") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_yaml_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(InputError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
