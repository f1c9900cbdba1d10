import pytest
import yaml

from wsss_mm.cli.profile import profile_names, render_profile
from wsss_mm.patches.vocabulary import VOCABULARIES
from wsss_mm.settings import load_params


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_valid(name, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(render_profile(name))
    assert load_params(path).cohort.vocabulary in VOCABULARIES


def test_the_committed_params_are_the_default_profile(project_root):
    assert (project_root / "params.yaml").read_text() == render_profile("phantom")


def test_a_profile_changes_only_what_it_names(tmp_path):
    base, other = (yaml.safe_load(render_profile(name)) for name in ("phantom", "wsss4luad"))
    assert other["patches"] == {**base["patches"], "size": 112, "min_tissue": 0.2}
    assert other["evaluate"] == base["evaluate"]


def test_source_replaces_the_profiles_own(tmp_path):
    assert yaml.safe_load(render_profile("bcss_wsss", tmp_path))["cohort"]["source"] == tmp_path.as_posix()
