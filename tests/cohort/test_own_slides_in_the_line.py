"""A user's own slides through DVC: what changes is noticed, and experiments, clones and `reproduce` find the slides."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.line import Line, checkout
from wsss_mm.slides.phantom import generate_cohort

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own-slides")]

SIZE = 1344
WAIT = 600  # s
REGISTER = """
from wsss_mm.tracking import keep_evidence, training_run
from wsss_mm.tracking.store import connect
from pathlib import Path
with training_run("segmenter", {}) as active:
    pass
client = connect().MlflowClient()
tags = client.get_run(active.info.run_id).data.tags
keep_evidence(Path("."), active.info.run_id, {"commit": tags["git.commit"], "runs": {}})
client.create_registered_model("own")
client.create_model_version("own", active.info.artifact_uri, active.info.run_id)
"""


def drawn(kind: str) -> str:
    ring = [[100, 100], [1200, 100], [1200, 1200], [100, 1200], [100, 100]]
    feature = {"type": "Feature", "properties": {"classification": {"name": kind}}}
    return json.dumps(feature | {"geometry": {"type": "Polygon", "coordinates": [ring]}})


def manifest(root: Path) -> str:
    return hashlib.md5((root / "data/patches/manifest.parquet").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """An archive of slides, drawings beside it, and the table elsewhere; most paths of it are relative."""
    lab = tmp_path_factory.mktemp("lab")
    for name in ("archive", "drawings", "table"):
        (lab / name).mkdir()
    slides = generate_cohort(lab / "archive", {"train": 3, "test": 1}, SIZE, 0, workers=1, progress=False)
    slides["path"] = [f"../archive/{path}" for path in slides["path"]]
    slides.loc[0, "path"] = f"{lab}/archive/slides/phantom-train-01.tiff"
    slides.loc[slides["split"] == "test", "annotation"] = "../drawings/test.geojson"
    (lab / "drawings/test.geojson").write_text(drawn("TE"))
    slides.to_csv(lab / "table/slides.csv", index=False)
    lines = [f"{name},{x},200,TE" for name in slides["slide_id"] if "train" in name for x in (200, 700)]
    (lab / "table/labels.csv").write_text("\n".join(["slide_id,x,y,labels", *lines]) + "\n")
    return lab


@pytest.fixture(scope="module")
def own(project_root, tmp_path_factory, lab) -> Line:
    """A project whose patches are cut from these slides, without a gate between."""
    line = checkout(project_root, tmp_path_factory.mktemp("own") / "project")
    line.run("wsss-mm", "profile", "slides", "--source", str(lab / "table"))
    pipeline = line.root / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("      - reports/gates/cohort.json\n", "", 1))
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Own slides")
    line.run("dvc", "repro", "patches")
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Run to the patches")
    return line


def ran(line: Line, *command: str) -> set[str]:
    """Stages that a command ran."""
    said = line.run(*command).stdout
    return {part.split("'")[1] for part in said.split("Running stage ")[1:]}


def test_every_change_of_what_the_table_names_is_noticed_and_no_other(own, lab):
    assert ran(own, "dvc", "repro", "patches") == {"cohort"}  # it looks, and finds nothing
    (lab / "table/project.qpproj").write_text("{}")
    (lab / "archive/stray.svs").write_bytes(b"stray")
    os.utime(lab / "archive/slides/phantom-test-01.tiff")
    assert ran(own, "dvc", "repro", "patches") == {"cohort"}

    table, labels = lab / "table/slides.csv", lab / "table/labels.csv"
    first, slide = manifest(own.root), lab / "archive/slides/phantom-train-02.tiff"
    before = {path: path.read_bytes() for path in (table, labels, lab / "drawings/test.geojson", slide)}
    (lab / "drawings/test.geojson").write_text(drawn("LYM"))
    assert {"cohort", "patches"} <= ran(own, "dvc", "repro", "patches")
    labels.write_text(labels.read_text().replace("TE", "TAS", 1))
    assert "labels.csv" in own.run("dvc", "status", "patches").stdout
    assert {"cohort", "patches"} <= ran(own, "dvc", "repro", "patches")
    generate_cohort(lab / "other", {"train": 1}, SIZE, 1, workers=1, progress=False)
    shutil.move(lab / "other/slides/phantom-train-01.tiff", slide)
    assert {"cohort", "patches"} <= ran(own, "dvc", "repro", "patches")
    table.write_text(table.read_text().replace(",train,", ",valid,", 1))
    assert {"cohort", "patches"} <= ran(own, "dvc", "repro", "patches")
    assert manifest(own.root) != first
    for path, content in before.items():
        path.write_bytes(content)
    own.run("dvc", "repro", "patches")
    assert manifest(own.root) == first
    assert own.run("git", "status", "--porcelain").stdout == ""


def test_the_split_is_that_of_the_table_for_slides_and_patches(own):
    slides = pd.read_csv(own.root / "data/cohort/slides.csv").set_index("slide_id")["split"]
    patches = pd.read_parquet(own.root / "data/patches/manifest.parquet")
    assert slides.value_counts().to_dict() == {"train": 2, "valid": 1, "test": 1}
    assert (patches["slide_id"].map(slides) == patches["split"]).all()


def test_a_clone_at_another_depth_pulls_and_has_nothing_to_do(own, tmp_path):
    own.run("dvc", "remote", "add", "--local", "-f", "store", str(tmp_path / "store"))
    own.run("dvc", "push", "-r", "store")
    (tmp_path / "one/two/three").mkdir(parents=True)
    other = Line(tmp_path / "one/two/three/clone")
    own.run("git", "clone", "-q", str(own.root), str(other.root))
    other.run("dvc", "remote", "add", "--local", "-f", "store", str(tmp_path / "store"))
    other.run("dvc", "pull", "-r", "store", "cohort", "patches")
    assert ran(other, "dvc", "repro", "patches") == {"cohort"}
    assert manifest(other.root) == manifest(own.root)
    assert other.run("git", "status", "--porcelain").stdout == ""


def test_experiments_beside_the_workspace_and_of_a_queue(own):
    own.run("dvc", "exp", "run", "--temp", "-n", "temp", "-S", "patches.min_tissue=0.4", "patches")
    own.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "patches.min_tissue=0.5", "patches")
    own.run("dvc", "queue", "start", "-j", "1")
    end = time.monotonic() + WAIT
    while "Running" in (said := own.run("dvc", "queue", "status").stdout) or "Queued" in said:
        assert time.monotonic() < end, said
        time.sleep(2)
    assert said.count("Success") == 1, said + own.run("dvc", "queue", "logs", "queued", check=False).stdout
    named = own.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert {"temp", "queued"} <= set(named)
    for name in ("temp", "queued"):
        lock = own.run("git", "show", f"refs/exps/{own_ref(own, name)}:dvc.lock").stdout
        assert cohort_md5(lock) == cohort_md5((own.root / "dvc.lock").read_text())


def own_ref(line: Line, name: str) -> str:
    refs = line.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    return next(ref for ref in refs if ref.endswith(f"/{name}")).removeprefix("refs/exps/")


def cohort_md5(lock: str) -> str:
    import yaml

    return yaml.safe_load(lock)["stages"]["cohort"]["outs"][0]["md5"]


def test_a_model_is_made_again(own):
    own.run("python", "-c", REGISTER)
    done = own.run("wsss-mm", "reproduce", "models:/own/1")
    assert "none of" in done.stdout and "differ" in done.stdout, done.stdout + done.stderr
