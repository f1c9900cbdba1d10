"""What the Makefile names is there."""

import re

import pytest


@pytest.mark.parametrize("name", ["SMOKE", "FAULTS"])
def test_tests_that_a_target_runs_exist(name, project_root):
    text = (project_root / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    assert f"$({name})" in text
    (listed,) = re.findall(rf"^{name} := (.+)$", text, re.MULTILINE)
    for item in listed.split():
        path, _, function = item.partition("::")
        assert (project_root / path).exists(), item
        if function:
            assert f"\ndef {function}(" in (project_root / path).read_text(encoding="utf-8"), item


def test_every_target_is_phony_and_in_its_help(project_root):
    text = (project_root / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):(.*)$", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(name for name, _ in targets)
    assert all(" ## " in rest for _, rest in targets)
    assert "smoke" in phony.split()
