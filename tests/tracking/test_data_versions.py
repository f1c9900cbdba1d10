"""Versions of the patches out of a real git history and DVC cache, and what changed between them."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests import warm
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.labelling import Journal, journal_path, new_entry
from wsss_mm.patches import get_vocabulary
from wsss_mm.patches.manifest import build_manifest, write_manifest
from wsss_mm.tracking.data_versions import (
    cache_folder,
    compare,
    data_versions,
    find_data_version,
    label_counts,
    read_version,
)

PLACE = {"slide": "sa", "mpp": 1.0, "size": 224}
LUNG = get_vocabulary("lung")
STAGE = "stages:\n  patches:\n    cmd: cp -r src data/patches\n    deps: [src]\n    outs: [data/patches]\n"


def patch(name: str, labels: str, split: str = "train") -> dict:
    sets = {code: code in labels.split(";") for code in LUNG.codes}
    where = {"slide_id": f"s{name[0]}", "patient_id": f"p{name[0]}", "split": split, "x": 0, "y": 0, "mpp": 1.0}
    file = {"size": 224, "path": f"{name}.png", "mask_path": None, "sha256": "0" * 64, "tissue": 1.0}
    return {"patch_id": name, **where, **file, **sets}


FIRST = [patch("a1", "TE"), patch("a2", "TE;TAS"), patch("b1", "LYM", "test"), patch("c1", "NEC")]
SECOND = [patch("a1", "TE;NEC"), patch("a2", "TE;TAS"), patch("b1", "LYM", "valid"), patch("d1", ""), patch("d2", "TE")]


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """Two versions of the patches in three commits: the third changes something else."""
    root = tmp_path_factory.mktemp("repository")
    environment = {**os.environ, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t"}
    environment |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}

    def run(*command: str) -> None:
        subprocess.run(command, cwd=root, check=True, env=environment, capture_output=True)

    run("git", "init", "-q")
    run(warm.dvc(), "init", "-q")
    (root / "dvc.yaml").write_text(STAGE)
    (root / "data").mkdir()
    for number, rows in enumerate((FIRST, SECOND)):
        (root / "src").mkdir(exist_ok=True)
        for row in rows:
            (root / "src" / row["path"]).write_text(row["patch_id"] + ("!" * number if row["patch_id"] == "a2" else ""))
        write_manifest(build_manifest(rows, LUNG, "here"), root / "src")
        run(warm.dvc(), "repro", "-q")
        journal = Journal(journal_path("ann", root / "labels"), "ann")
        journal.append([new_entry("answer", **PLACE, x=number, y=0, classes={"TE": "present"})])
        run("git", "add", "-A")
        run("git", "commit", "-qm", f"Patches {number + 1}")
    (root / "dvc.lock").write_text((root / "dvc.lock").read_text() + "\n")
    run("git", "commit", "-qam", "A blank line")
    run("git", "tag", "-a", "patches@v1.2.0", "-m", "release")
    return root


def test_versions_are_named_by_their_first_commit_and_all_their_tags(repository):
    newest, oldest = data_versions(repository)
    assert [newest.subject, oldest.subject] == ["Patches 2", "Patches 1"]
    assert (newest.tags, oldest.tags) == (("patches@v1.2.0",), ())
    assert find_data_version([newest, oldest], "patches@v1.2.0") == newest
    assert find_data_version([newest, oldest], oldest.md5[:6]) == oldest
    with pytest.raises(InputError, match="names 2 versions"):
        find_data_version([newest, oldest], "")


def test_what_changed(repository):
    newest, oldest = data_versions(repository)
    before, after = (read_version(version, cache_folder(repository)) for version in (oldest, newest))
    assert label_counts(after[0]) == {"TE": 3, "NEC": 1, "LYM": 1, "TAS": 1}
    change = compare(before, after)
    assert (change.added, change.removed) == (("d1", "d2"), ("c1",))
    assert change.relabelled == {"a1": ("TE", "TE;NEC")}
    assert change.moved == {"b1": ("test", "valid")}
    assert change.redrawn == ("a2",)
    assert str(change) == "2 added, 1 removed, 1 relabelled, 1 in another split, 1 redrawn"
    assert str(compare(after, after)) == "the same patches"


def test_what_changed_of_patches_in_shards():
    """DVC knows the shard alone, and the manifest what is in it; of files by themselves DVC knows more."""

    def version(rows, files):
        return build_manifest(rows, LUNG, "here").set_index("patch_id"), files

    rows = [patch(name, "TE") | {"mask_path": f"m/{name}.png", "mask_sha256": "1" * 64} for name in ("a1", "a2", "a3")]
    moved = [row | {"path": f"s.tar/{row['path']}@512+9", "mask_path": f"m.tar/{row['path']}@512+9"} for row in rows]
    moved[1]["sha256"], moved[2]["mask_sha256"] = "2" * 64, "2" * 64
    files = version(rows, {f"{part}{name}.png": "5" * 32 for name in ("a1", "a2", "a3") for part in ("", "m/")})
    shards = version(moved, {"s.tar": "3" * 32, "m.tar": "4" * 32})
    assert compare(files, shards).redrawn == compare(shards, files).redrawn == ("a2", "a3")
    assert str(compare(shards, version(moved, {}))) == "the same patches"


def test_the_command(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    _, oldest = data_versions(repository)
    assert main(["data", "log"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "patches@v1.2.0" in lines[0]
    assert "5 patches of 3 patients, 3 slides; TE 3, NEC 1, LYM 1, TAS 1" in lines[1]
    assert lines[2] == f"  since {oldest.md5[:8]}: 2 added, 1 removed, 1 relabelled, 1 in another split, 1 redrawn"
    assert lines[3] == "  journals: +1 label of 1 slide by one reader; TE 1 -> 2"
    assert lines[4].startswith(oldest.md5[:8])
    assert main(["data", "log", oldest.commit[:8], "patches@v1.2.0"]) == 0
    out = capsys.readouterr().out
    assert "    a1: TE to TE;NEC\n" in out
    assert "  journals: +1 label of 1 slide by one reader; TE 1 -> 2\n" in out
    assert main(["data", "log", "patches@v1.2.0"]) == 2
    assert main(["data", "log", "--path", "data/none"]) == 2
    assert "no commit has data/none" in capsys.readouterr().err


def test_what_the_cache_lacks_or_has_wrong_is_said(repository, monkeypatch, capsys):
    newest, _ = data_versions(repository)
    cache = cache_folder(repository)
    _, files = read_version(newest, cache)
    md5 = files["manifest.parquet"]
    path = cache / "files/md5" / md5[:2] / md5[2:]
    content = path.read_bytes()
    path.chmod(0o644)
    try:
        pd.DataFrame({"patch_id": ["x"]}).to_parquet(path)
        with pytest.raises(InputError, match="corrupted"):
            read_version(newest, cache)
        path.unlink()
        monkeypatch.chdir(repository)
        assert main(["data", "log"]) == 0
        assert "dvc fetch" in capsys.readouterr().out
    finally:
        path.write_bytes(content)
