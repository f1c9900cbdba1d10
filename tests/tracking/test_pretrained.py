"""The weights a training began with: tags of its run, the report's lineage, and what reproduce brings."""

import hashlib

import pytest
import torch

from wsss_mm.errors import InputError
from wsss_mm.files import digest, write_text
from wsss_mm.models.store import save_model
from wsss_mm.tracking import reproduce as module
from wsss_mm.tracking import training_run
from wsss_mm.tracking.card import lineage_table
from wsss_mm.tracking.evidence import read_evidence
from wsss_mm.tracking.report import _beginning
from wsss_mm.tracking.reproduce import _bring_weights
from wsss_mm.tracking.runs import tag_weights
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

NAME, CONTENT = "pretrained/w.pth", b"weights"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
INFO = {"initial_weights": {"file": "models/classifier/weights.pth", "sha256": "b" * 64}}
INFO["initial_weights"]["initial_weights"] = {"file": NAME, "sha256": SHA256}
LOCK = f"""stages:
  train_classifier:
    deps:
    - {{path: pretrained/w.pth, hash: md5, md5: {MD5}}}
    - {{path: data/patches, md5: {"c" * 32}.dir}}
    outs:
    - {{path: models/classifier, md5: {"d" * 32}.dir}}
  train_segmenter:
    deps:
    - {{path: pretrained/None, hash: md5, md5: {"e" * 32}}}
"""


def test_the_run_names_them(tracked):
    begun = INFO["initial_weights"]["initial_weights"]
    for name, info in (("with", {"initial_weights": begun}), ("without", {})):
        folder = tracked / name
        save_model(folder, state={"a": torch.zeros(1)}, info={"kind": "classifier", **info}, config_text="", card="")
        with training_run("train_classifier", {}) as run:
            tag_weights(folder / "weights.pth")
        tags = connect().MlflowClient().get_run(run.info.run_id).data.tags
        assert tags.get("initial_weights") == (NAME if info else None)
        assert tags.get("initial_weights_sha256") == (SHA256 if info else None)
        assert _beginning(tags) == ({"Began with": f"{NAME}, sha256 {SHA256}"} if info else {})


def test_lineage_ends_in_them(tmp_path):
    write_text(tmp_path / "dvc.lock", LOCK)
    evidence = read_evidence(tmp_path)
    assert evidence.pretrained == {NAME: MD5}
    assert lineage_table(evidence).splitlines()[-1] == f"| pretrained weights | `{NAME}` | `{MD5}` |  |"


@pytest.fixture
def places(tmp_path):
    found = [tmp_path / name for name in ("project", "scratch", "cache")]
    for place in found:
        (place / "pretrained").mkdir(parents=True)
    return found


@pytest.mark.parametrize("where", ["cache", "project"])
def test_reproduce_finds_them_in_cache_or_project(places, where):
    project, scratch, cache = places
    path = cache / "files/md5" / MD5[:2] / MD5[2:] if where == "cache" else project / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    (scratch / NAME).write_bytes(b"of another day")
    _bring_weights(project, scratch, cache, {NAME: MD5}, INFO)
    assert digest(scratch / NAME, "md5") == MD5
    with pytest.raises(InputError, match=f"^{NAME}: sha256 is not aaaaaaaaaaaa, as model.json has it; "):
        _bring_weights(project, scratch, cache, {NAME: MD5}, {"initial_weights": {"file": NAME, "sha256": "a" * 64}})


def test_reproduce_pulls_what_the_commit_tracks(places, monkeypatch):
    project, scratch, cache = places
    (scratch / f"{NAME}.dvc").write_text(f"outs:\n- {{md5: {MD5}, path: w.pth}}\n")
    monkeypatch.setattr(module, "_dvc", lambda where, *arguments: (where / NAME).write_bytes(CONTENT))
    _bring_weights(project, scratch, cache, {NAME: MD5}, INFO)
    assert (scratch / NAME).read_bytes() == CONTENT


def test_what_cannot_be_had_is_one_line(places):
    (places[0] / NAME).write_bytes(b"others")
    with pytest.raises(InputError, match=rf"^{NAME}: a training began with this file, md5 {MD5}, [^\n]+$"):
        _bring_weights(*places, {NAME: MD5}, INFO)
    with pytest.raises(InputError, match=f"^{NAME}: '../../x' in its dvc.lock is no md5; "):
        _bring_weights(*places, {NAME: "../../x"}, INFO)
