"""Two accounts of one group in turn, as processes that are forked by root: no account is made for it.

Run as root with the name of a test; everything is imported before the rights are given up, since Python itself may lie
where only root may read.
"""

import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from tests.wsi.conftest import colour_predict, make_tissue
from wsss_mm import places
from wsss_mm.choosing.choice import Choice, write_choice
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.features.shards import Shard, write_shard
from wsss_mm.files import atomic_folder, locked, write_json
from wsss_mm.labelling import Journal, new_entry
from wsss_mm.labelling.candidates import write_candidates
from wsss_mm.labelling.settled import write_labels
from wsss_mm.patches import VOCABULARIES
from wsss_mm.web.label.doors import Doors
from wsss_mm.wsi import SlideModel

ANNA, BEN, STRANGER = 61001, 61002, 61003
GROUP = 61000
_TILE = (64, 64)


def as_user(user, mask, call, *args):
    """Whether a call succeeds in a process of this user, under this umask."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(GROUP if user != STRANGER else STRANGER)
            os.setuid(user)
            os.umask(mask)
            call(*args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def work(folder):
    """What writes results: a slide is segmented, again if it was, and files and folders are written."""
    slides = [str(path) for path in sorted(Path(folder, "slides").iterdir())]
    command = ["--quiet", "segment", *slides, "--out", f"{folder}/results/slides", "--mpp", "1", "--window", "64"]
    assert main([*command, "--force"]) == 0
    write_json(f"{folder}/reports/metrics/a.json", {"by": os.getuid()})
    with atomic_folder(Path(folder, "models/segmenter")) as model:
        (model / "plots").mkdir()
        write_json(model / "plots/model.json", {"by": os.getuid()})
    labelling(Path(folder))
    with locked(f"{folder}/list.txt"), Path(folder, "list.txt").open("a") as stream:
        stream.write(f"{os.getuid()}\n")


def labelling(root):
    """What is written on the way to labels: candidates, journals, their table, features, choices."""
    write_candidates(pd.DataFrame(columns=list(places.CANDIDATE_COLUMNS)), root / places.CANDIDATES)
    here = {"slide": "a", "x": os.getuid(), "y": 0, "mpp": 1.0, "size": 224}
    said = Journal(root / places.LABELS_FOLDER / "ann.jsonl", "ann")
    said.append([new_entry("answer", **here, classes={"TE": "present"})])
    assert said.entries()[-1]["x"] == os.getuid()
    write_labels(root / places.LABELS, [])
    shard = Shard(np.zeros((1, 2), np.int64), np.zeros((1, 3), np.float16), np.zeros((1, 0), np.float32))
    for place in (places.FEATURES, places.FEATURES_MEMORY):
        (root / place).mkdir(parents=True, exist_ok=True)
        write_shard(root / place / "a.npz", shard, "key")
    write_choice(root / places.CHOICE_FILE, Choice({}, {}, "hand", "by hand"))


def serve_labels(folder):
    """Secrets of the page's server are made, or read again."""
    Doors(["ann"], Path(folder) / places.LABEL_SERVER, guarded=True).new_secrets()


def serves_none(folder):
    """What the page's server says to another account is one line that says what to do."""
    for file in Path(folder, places.LABEL_SERVER).iterdir():
        assert not os.access(file, os.R_OK), file
    try:
        serve_labels(folder)
    except InputError as error:
        assert "is of the account that serves the page here" in str(error)
    else:
        raise AssertionError("a page was served with secrets of another account")


def read_all(folder):
    """Read every file below a folder but for secrets, and fail if one cannot be read."""
    for path in (Path(folder), *Path(folder).rglob("*")):
        if path.parent.name == places.LABEL_SERVER.name:
            continue
        _ = list(path.iterdir()) if path.is_dir() else path.read_bytes()


def reads_any(folder, names):
    """Fail unless at least one of the files can be read."""
    assert any(os.access(Path(folder, name), os.R_OK) for name in names)


def prepared(folder):
    """A folder of the group with a slide in it, writable for both."""
    Path(folder, "slides").mkdir(parents=True)
    tifffile.imwrite(Path(folder, "slides/a.tiff"), make_tissue(100, 120), tile=_TILE, photometric="rgb", metadata=None)
    os.chown(folder, ANNA, GROUP)
    Path(folder).chmod(0o770)


def colleagues(root):
    """Under 002 each replaces what the other wrote; nobody outside the group reads it."""
    prepared(f"{root}/lab")
    for user in (ANNA, BEN, ANNA):
        assert as_user(user, 0o002, work, f"{root}/lab"), user
    assert as_user(ANNA, 0o002, serve_labels, f"{root}/lab")
    assert as_user(ANNA, 0o002, serve_labels, f"{root}/lab")
    assert as_user(BEN, 0o002, serves_none, f"{root}/lab")
    for user in (ANNA, BEN):
        assert as_user(user, 0o002, read_all, f"{root}/lab")
    assert Path(root, "lab/list.txt").read_text().split() == [str(user) for user in (ANNA, BEN, ANNA)]
    assert not as_user(STRANGER, 0o002, read_all, f"{root}/lab")


def private(root):
    """Under 077 nobody else reads anything, even who may enter the folder."""
    prepared(f"{root}/own")
    assert as_user(ANNA, 0o077, work, f"{root}/own")
    assert as_user(ANNA, 0o077, serve_labels, f"{root}/own")
    written = [path.relative_to(f"{root}/own") for path in Path(root, "own").rglob("*")]
    written = [name for name in written if name.parts[0] != "slides"]
    assert len(written) > 10
    assert as_user(ANNA, 0o077, reads_any, f"{root}/own", written)
    assert not as_user(BEN, 0o002, reads_any, f"{root}/own", written)


if __name__ == "__main__":
    model = SlideModel(colour_predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    SlideModel.from_folder = lambda *_, **__: model
    place = tempfile.mkdtemp(prefix="wsss-mm-users-")
    try:
        Path(place).chmod(0o755)
        prepared(f"{place}/first")
        work(f"{place}/first")  # so that everything is imported
        {"colleagues": colleagues, "private": private}[sys.argv[1]](place)
    finally:
        shutil.rmtree(place)
