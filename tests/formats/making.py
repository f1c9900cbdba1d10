"""Small examples of every file that the product reads back: `python -m tests.formats.making FOLDER`.

They lie as in a project. Those of a format are made once, by the code that first wrote it, and stay as they are.
"""

import shutil
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from pipelines import candidates, features, gate, register, train_segmenter
from tests.gates.project import clean_params, inside, make_project, write_slide
from wsss_mm import places
from wsss_mm.engine import checkpoints
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import write_rows
from wsss_mm.gates.champion import Pin, Rival, write_pin
from wsss_mm.labelling import Journal as LabelJournal
from wsss_mm.labelling import new_entry
from wsss_mm.models import build_network, save_model
from wsss_mm.models.bundle import opened_bundle, unpack_bundle, write_bundle
from wsss_mm.models.description import NEEDS, VALIDATED
from wsss_mm.patches import read_manifest, write_manifest
from wsss_mm.patches.shards import pack_files
from wsss_mm.patches.stains import write_stains
from wsss_mm.places import PSEUDO_LABEL_MANIFEST
from wsss_mm.project.note import write_note
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.icc import note_icc
from wsss_mm.slides.stain import Stain
from wsss_mm.tracking import evidence, local
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.engine import Rows
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.journal import MapJournal
from wsss_mm.wsi.mapping import map_slide

RUN = "0" * 32
SIDE = 96  # px of the slide

NORMALISATION = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
HEAD = {
    "type": "PSPHead",
    "in_channels": 64,
    "in_index": 0,
    "channels": 4,
    "num_classes": 4,
    "norm_cfg": {"type": "BN"},
    "loss_decode": {"type": "wsss_mm.NoiseSuppressedCrossEntropyLoss"},
}
SEGMENTER = {
    "type": "EncoderDecoder",
    "data_preprocessor": {"type": "mmseg.SegDataPreProcessor", **NORMALISATION},
    "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 64, "out_indices": [5]},
    "decode_head": HEAD,
    "test_cfg": {"mode": "whole"},
}

PROJECT_FILES = {"tune.yaml": "trials: []\n", "code/cohort.sha256": "0  wsss_mm/errors.py\n"}

_NO_RUNS = SimpleNamespace(training=lambda *_, **__: nullcontext(), gate=lambda *_: None)

KEPT = (
    *("data/candidates/candidates.parquet", "data/features/features.json"),
    *(
        "data/patches/manifest.parquet",
        "data/patches/stain.json",
        "data/patches/icc.json",
        "data/pseudo_labels/manifest.parquet",
        "models/segmenter/*",
        "models/bundles/*/bundle.json",
    ),
    *(
        "reports/choices/*.json",
        "reports/gates/c*.json",
        "reports/metrics/*.json",
        "reports/registered.json",
        "evidence/**/*",
    ),
    *("results/slides/small/*", "results/slides/half-done/.partial/*", "work_dirs/*/*/checkpoint-*"),
    *("work_dirs/unsent/*/run.jsonl", "data/maps/small/*", "champion.json"),
    ".wsss-mm.json",
    "labels/*.jsonl",
)


def make(target: Path) -> None:
    """Make them all."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_project(root)
        with inside(root):
            candidates.main(clean_params())
            features.main(clean_params())
            _reports()
            _model(Path("models/segmenter"))
            _bundle(Path("models/segmenter"), Path("models/bundles"))
            _slides(Path("results/slides"))
            _map(Path("data/maps/small"))
            params = clean_params()
            unregistered = params.register_.model_copy(update={"model_name": None})
            register.main(params.model_copy(update={"register_": unregistered}))
            rivals = (Rival(number, number * 32, 0.8, "e" * 64) for number in "21")
            write_pin(root, Pin("small", *rivals))
            write_note(root, PROJECT_FILES)
            _labels(Path("labels/ann.jsonl"))
            _unfinished(Path("work_dirs"))
            _evidence(root)
            _stains(places.PATCHES)  # last: nothing else is to be made of it
        for path in (path for pattern in KEPT for path in root.glob(pattern) if path.is_file()):
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def make_of_shards(target: Path) -> None:
    """Make the manifests of patches and pseudo-labels that lie in shards, which are of another format."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_project(root)
        patches, labels = root / places.PATCHES, root / places.PSEUDO_LABELS
        rows = read_manifest(patches, get_vocabulary("lung"))
        write_manifest(pack_files(rows, patches, ("path", "mask_path")), patches)
        said = pd.read_parquet(labels / places.MANIFEST)
        slides = said["patch_id"].map(rows.set_index("patch_id")["slide_id"])
        said = pack_files(said.assign(slide_id=slides), labels, ("path",)).drop(columns="slide_id")
        write_rows(labels / places.MANIFEST, PSEUDO_LABEL_MANIFEST, pa.Table.from_pandas(said, preserve_index=False))
        for path in (patches, labels):
            place = target / path.relative_to(root) / places.MANIFEST
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path / places.MANIFEST, place)


def _reports() -> None:
    """Figures of the segmenter's validation, which its training writes, and what the gates say of all that is there."""
    training = {"train_segmenter": lambda *_: {"miou": 0.9}, "join_processes": lambda: 0}
    with patch.multiple("wsss_mm.engine", **training):
        train_segmenter.main(clean_params(), _NO_RUNS)
    for name in ("cohort", "patches", "classifier", "pseudo_labels", "segmenter"):
        with suppress(InputError):  # reports of failed gates are reports, too
            gate.main(name, clean_params(), _NO_RUNS)


def _labels(path: Path) -> None:
    """Two answers, of which one is undone."""
    place = {"slide": "small", "x": 448, "y": 896, "mpp": 1.0, "size": 224}
    first = new_entry("answer", **place, classes={"TE": "present", "LYM": "absent", "NEC": "unsure"}, seconds=4.2)
    second = new_entry("answer", **place, artefact="pen", suggested={"TE": 0.93}, how="created", drawn="random")
    journal = LabelJournal(path, path.stem)
    journal.append([first])
    journal.append([second])
    journal.append([new_entry("undo", of=[second["id"]])])


def _model(folder: Path) -> None:
    """A segmenter of random weights, narrow enough to be kept in git."""
    torch.manual_seed(0)
    info = {
        "kind": "segmenter",
        **get_vocabulary("lung").to_json(),
        NEEDS: ["lab.parts"],
        "mpp": 1.0,
        "size": 48,
        "width": 1 / 64,
        "model": SEGMENTER,
        "patches": digest("data/patches/manifest.parquet"),
        "pseudo_labels": digest("data/pseudo_labels/manifest.parquet"),
        "valid": {"miou": 0.9},
        VALIDATED: Parameters(window=64, min_island=2000).carried(),
    }
    shutil.rmtree(folder)
    save_model(folder, state=build_network(SEGMENTER).state_dict(), info=info, config_text="", card="# Small\n")


def _bundle(model: Path, target: Path) -> None:
    with opened_bundle(write_bundle([model], target, "small")) as (folder, _):
        unpack_bundle(folder, target / "small")


def _slides(folder: Path) -> None:
    """A slide that is done, and one that was left when half of it was."""
    shutil.rmtree(folder)
    image = np.random.default_rng(0).integers(90, 200, (2 * SIDE, 2 * SIDE, 3), np.uint8)
    write_slide(Path("small.tiff"), image)
    segment_slide("small.tiff", "models/segmenter", folder / "small", window=64, min_island=2000, progress=False)
    (folder / "half-done/.partial").mkdir(parents=True)
    labels, carry = np.zeros((32, SIDE), np.uint8), np.full((2, 3, SIDE), 0.25, np.float32)
    rows = Rows(0, labels, np.zeros((2, 32, SIDE), np.float32), carry)
    MapJournal(folder / "half-done/.partial", {"slide": {"file": "half-done.tiff"}, "mpp": 1.0}).write(rows, {3: 12})


def _map(folder: Path) -> None:
    """The map of a slide, with probabilities, as it lies between two stages."""
    parameters, model = Parameters(window=64, probabilities=True), SlideModel.from_folder("models/segmenter")
    map_slide(Job(folder.name, Path("small.tiff"), folder), model, parameters, progress=False)


def _unfinished(folder: Path) -> None:
    """A checkpoint, and a run that waits to be sent."""
    training = folder / "train_segmenter/0123456789abcdef"
    training.mkdir(parents=True)
    runner = SimpleNamespace(
        work_dir=str(training),
        message_hub=SimpleNamespace(get_info=lambda *_: None),
        save_checkpoint=lambda out, name, **_: torch.save({"state_dict": {}}, Path(out) / name),
    )
    checkpoints._write(runner, 20)
    head = local.Head(id=RUN, experiment="small", name="c0ffee", tags={"stage": "train_small"}, begun=1, store="0" * 64)
    with patch("wsss_mm.tracking.local.now", lambda: 2):
        run = local.begin(head)
        run.params({"lr": 0.5})
        run.metrics({"loss": 0.25, "nan": float("nan")}, 3)
        run.end("FINISHED")
        run.close()


def _stains(folder: Path) -> None:
    """How the slides of the patches are stained, if they were: they are noise; and that they were read as sRGB."""
    stain = Stain("macenko", (0.65, 0.7, 0.29, 0.07, 0.99, 0.11, 1.2, 0.8))
    with patch("wsss_mm.patches.stains.fit_stain", lambda *_: stain):
        write_stains(folder, read_manifest(folder, get_vocabulary("lung")), "macenko")
    note_icc(folder)


def _evidence(root: Path) -> None:
    """What is kept of a registered model, of two reports."""
    client = SimpleNamespace(
        log_artifacts=lambda _, folder, name: shutil.copytree(folder, root / name), search_model_versions=lambda _: []
    )
    for name in ("reports/metrics/test.json", "reports/gates/cohort.json"):
        (root / "kept" / name).parent.mkdir(parents=True)
        shutil.copyfile(root / name, root / "kept" / name)
    with patch.object(evidence, "connect", lambda: SimpleNamespace(MlflowClient=lambda: client)):
        evidence.keep_evidence(root / "kept", RUN, {"commit": "c" * 40, "runs": {"train_segmenter": RUN}})


if __name__ == "__main__":
    make(Path(sys.argv[1]))
