"""dvc.yaml of a lab says the same as the project's, with lists of digests in place of the package's code."""

import yaml

from wsss_mm.files import digest
from wsss_mm.places import PIPELINE
from wsss_mm.project.stages import code_files, without_code


def read(project_root):
    return (project_root / PIPELINE).read_text(encoding="utf-8")


def deps_of(text):
    """Dependencies by stage, and by gate; fillings count once."""
    stages = yaml.safe_load(text)["stages"]
    found = {name: set(stage["deps"]) for name, stage in stages.items() if "foreach" not in stage}
    return found | {f"gate-{name}": set(item["files"]) for name, item in stages["gate"]["foreach"].items()}


def test_all_but_the_code_stays(project_root):
    text = read(project_root)
    before, after = deps_of(text), deps_of(without_code(text))
    for name, deps in before.items():
        kept = {dep for dep in deps if not dep.startswith("wsss_mm/")}
        assert after[name] == kept | ({f"code/{name}.sha256"} if kept != deps else set()), name


def test_what_is_no_dependency_is_untouched(project_root):
    before, after = (yaml.safe_load(text) for text in (read(project_root), without_code(read(project_root))))
    for content in (before, after):
        for stage in content["stages"].values():
            stage.get("do", stage).pop("deps")
        for item in content["stages"]["gate"]["foreach"].values():
            item.pop("files")
    assert before == after
    assert "wsss_mm/" not in without_code(read(project_root))
    assert read(project_root).count("#") == without_code(read(project_root)).count("#")


def test_gates_have_as_many_files_as_are_asked_for(project_root):
    gate = yaml.safe_load(without_code(read(project_root)))["stages"]["gate"]
    counts = {len(item["files"]) for item in gate["foreach"].values()}
    asked = [dep for dep in gate["do"]["deps"] if "item.files" in dep]
    assert counts == {len(asked)}
    assert asked[-1] == f"${{item.files[{len(asked) - 1}]}}"


def test_lists_name_the_files_of_the_package(project_root):
    """A folder stands for its files; a digest is what `sha256sum` says."""
    lists = code_files(read(project_root), project_root / "wsss_mm", digest)
    before = deps_of(read(project_root))
    assert set(lists) == {f"code/{name}.sha256" for name, deps in before.items() if any("wsss_mm/" in d for d in deps)}
    lines = [line.split("  ") for line in lists["code/cohort.sha256"].splitlines() if not line.startswith("#")]
    names = [name for _, name in lines]
    assert names == sorted(set(names))
    assert "wsss_mm/slides/phantom/nuclei.py" in names
    assert not any("__pycache__" in name for name in names)
    assert all(digest(project_root / name) == sha256 for sha256, name in lines)


def test_a_stage_runs_again_where_its_code_changes_and_nowhere_else(project_root):
    text, changed = read(project_root), project_root / "wsss_mm/slides/pen.py"
    before = code_files(text, project_root / "wsss_mm", lambda path: "0")
    after = code_files(text, project_root / "wsss_mm", lambda path: "1" if path == changed else "0")
    stages = {path for path in before if before[path] != after[path]}
    wanted = {f"code/{name}.sha256" for name, deps in deps_of(text).items() if "wsss_mm/slides/pen.py" in deps}
    assert stages == wanted
    assert 0 < len(wanted) < len(before)


def test_another_version_alone_runs_nothing_again(project_root):
    """`wsss_mm/__init__.py` says the version, and nothing that an out rests on."""
    text = (project_root / "wsss_mm/__init__.py").read_text(encoding="utf-8")
    assert [line.split()[0] for line in text.split('"""')[2].split("\n") if line] == ["__version__"]
    lists = code_files(read(project_root), project_root / "wsss_mm", digest)
    assert not any("wsss_mm/__init__.py" in content for content in lists.values())
