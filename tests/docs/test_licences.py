"""Packages whose licences have conditions of their own are in docs/licences.md."""

import re
from importlib import metadata

_CONDITIONS = re.compile(r"GPL|EPL|MPL|Mozilla|Public License|General Public|rights reserved|SSPL|AGPL|Commons|^\?$")


def licence(name):
    """What an installed package says of its licence, "?" if it says nothing."""
    about = metadata.metadata(name)
    classes = [
        item.rpartition(":: ")[2]
        for item in about.get_all("Classifier", [])
        if item.startswith("License :: OSI Approved :: ")
    ]
    return about.get("License-Expression") or "; ".join(classes) or (about.get("License") or "?").splitlines()[0]


def test_licences_with_conditions_are_listed(project_root):
    page = (project_root / "docs/licences.md").read_text(encoding="utf-8")
    locked = (project_root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[ =;\[]", line)[0] for line in locked if line[:1].strip()}
    installed = {item.metadata["Name"].lower().replace("_", "-") for item in metadata.distributions()}
    asked = sorted(name for name in names if name.lower() in installed)
    assert len(asked) > 150
    with_conditions = [name for name in asked if _CONDITIONS.search(licence(name))]
    assert {"pygit2", "grandalf", "asyncssh", "openslide-python", "psycopg2-binary"} <= set(with_conditions)
    assert [name for name in with_conditions if not re.search(rf"\b{re.escape(name)}\b", page)] == []
