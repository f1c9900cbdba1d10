"""Tables at the size of an archive: what each takes of CPU time and memory for 10^4, 10^5 and 10^6 patches.

An archive of N patches has N/1000 slides, and of N/10 patches the labels of two readers. No picture is read: this is
what grows with the number of rows beside the work on each picture. Each run is a process of its own that holds nothing
but its input. Ten times as many may take 12 times as long; what grows with the square would take 100 times.

    OMP_NUM_THREADS=1 python -m benchmarks.archive
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.command import Option, Work, clocked, in_children, peak_above, run
from benchmarks.labelling import candidates_of
from benchmarks.rows import Measurement
from wsss_mm import places
from wsss_mm.cohort import Cohort
from wsss_mm.cohort.assign import SlideFacts, SplitPlan, divide
from wsss_mm.datasets import PatchLabelDataset, PseudoLabelDataset
from wsss_mm.formats import write_rows
from wsss_mm.labelling import Journal, new_entry, read_journals
from wsss_mm.labelling.candidates import read_candidates
from wsss_mm.labelling.settled import label_rows, settle_labels
from wsss_mm.patches.manifest import manifest_columns, read_manifest, write_manifest
from wsss_mm.tracking.data_versions import compare
from wsss_mm.vocabulary import get_vocabulary

OPTIONS = {"patches": Option(("10000", "100000", "1000000"), ("100", "1000"), "how many, each ten times as many")}
TEN_TIMES = 12.0  # as long, at most, for ten times as many: sorting and caches leave a little above 10
SHA256 = "0" * 64
LUNG = get_vocabulary("lung")


def manifest_of(count: int) -> pd.DataFrame:
    """Patches of slides that hold a thousand each; one in ten is judged, and has a mask."""
    row = np.arange(count)
    slide = row // 1000
    table = pd.DataFrame({"slide_id": [f"s{number:05d}" for number in slide]})
    table["x"], table["y"] = row % 1000 % 40 * 448, row % 1000 // 40 * 448
    table["patch_id"] = table["slide_id"] + "-" + table["x"].astype(str) + "-" + table["y"].astype(str)
    table["patient_id"], table["site"] = table["slide_id"], "a"
    table["split"] = np.array([*["train"] * 8, "valid", "test"])[slide % 10]
    table["mpp"], table["size"], table["tissue"] = 1.0, 224, 0.9
    table["path"] = "images/" + table["split"] + "/" + table["patch_id"] + ".png"
    judged = table["split"] != "train"
    table["mask_path"] = ("masks/" + table["patch_id"] + ".png").where(judged, None)
    table["sha256"], table["mask_sha256"] = SHA256, pd.Series([SHA256] * count, dtype=object).where(judged, None)
    table["unsure"] = None
    for index, code in enumerate(LUNG.codes):
        table[code] = row % len(LUNG.codes) == index
    return table[manifest_columns(LUNG.codes)]


def write_archive(folder: Path, count: int) -> None:
    """All tables of an archive of as many patches."""
    manifest = manifest_of(count)
    write_manifest(manifest, folder / "patches")
    _write_slides(folder, manifest)
    _write_pseudo_labels(folder / "pseudo_labels", manifest)
    candidates_of(folder / "candidates", count)
    for reader in ("ann", "ben"):
        _write_journal(folder / "labels", reader, manifest.head(count // 10))


def _write_slides(folder: Path, manifest: pd.DataFrame) -> None:
    slides = manifest.drop_duplicates("slide_id")[["slide_id", "patient_id", "site", "split"]]
    slides.assign(path=slides["slide_id"] + ".svs", mpp="").to_csv(folder / places.SLIDES_TABLE, index=False)


def _write_pseudo_labels(folder: Path, manifest: pd.DataFrame) -> None:
    labels = pd.DataFrame({"patch_id": manifest["patch_id"]})
    labels["path"] = "labels/" + labels["patch_id"] + ".png"
    labels["coverage"], labels["agreement"], labels["sha256"] = 1.0, 1.0, SHA256
    for code in LUNG.codes:
        labels[places.SHARE + code] = 0.25
    labels = labels[places.pseudo_label_columns(LUNG.codes)]
    folder.mkdir()
    write_rows(folder / places.MANIFEST, places.PSEUDO_LABEL_MANIFEST, pa.Table.from_pandas(labels))


def _write_journal(folder: Path, reader: str, patches: pd.DataFrame) -> None:
    states = dict.fromkeys(LUNG.codes, "absent") | {LUNG.codes[0]: "present"}
    rows = zip(patches["slide_id"], patches["x"].tolist(), patches["y"].tolist(), strict=True)
    slide, x, y = next(rows)
    first = new_entry("answer", slide=slide, x=x, y=y, mpp=1.0, size=224, classes=states, seconds=4.2, drawn="useful")
    journal = Journal(folder / f"{reader}.jsonl", reader)
    journal.append([first])
    with journal.path.open("a") as stream:
        for number, (slide, x, y) in enumerate(rows):
            stream.write(json.dumps({**first, "id": f"{number:032x}", "slide": slide, "x": x, "y": y}) + "\n")


def _slides(folder: Path) -> Work:
    return lambda: Cohort.read(folder / places.SLIDES_TABLE, check_files=False)


def _splits(folder: Path) -> Work:
    table = pd.read_csv(folder / places.SLIDES_TABLE)
    facts = [
        SlideFacts(slide, slide, f"site {len(slide) % 5}", "", frozenset(LUNG.codes)) for slide in table["slide_id"]
    ]
    return lambda: divide(facts, SplitPlan())


def _manifest_read(folder: Path) -> Work:
    return lambda: read_manifest(folder / "patches", LUNG)


def _manifest_written(folder: Path) -> Work:
    manifest = pd.read_parquet(folder / "patches" / places.MANIFEST)
    return lambda: write_manifest(manifest, folder / "patches")


def _candidates(folder: Path) -> Work:
    return lambda: read_candidates(folder / "candidates")


def _labels(folder: Path) -> Work:
    return lambda: label_rows(settle_labels(read_journals(folder / "labels")), LUNG, mpp=1.0, size=224)


def _classifier_data(folder: Path) -> Work:
    return lambda: PatchLabelDataset(str(folder / "patches"), LUNG.name, "train")


def _segmenter_data(folder: Path) -> Work:
    labels = str(folder / "pseudo_labels")
    return lambda: PseudoLabelDataset(str(folder / "patches"), LUNG.name, "train", pseudo_labels=labels)


def _data_log(folder: Path) -> Work:
    before = pd.read_parquet(folder / "patches" / places.MANIFEST).set_index("patch_id")
    digests = dict.fromkeys([*before["path"], *before["mask_path"].dropna()], SHA256)
    after = before.assign(TE=~before["TE"]).iloc[len(before) // 10 :]
    return lambda: compare((before, digests), (after, digests))


SUBJECTS: dict[str, Callable[[Path], Work]] = {
    "table of slides read": _slides,
    "slides divided into splits": _splits,
    "manifest of patches read and checked": _manifest_read,
    "manifest of patches written": _manifest_written,
    "candidates read and checked": _candidates,
    "journals of two readers read, settled, as labels": _labels,
    "training data of the classifier opened": _classifier_data,
    "training data of the segmenter opened": _segmenter_data,
    "two versions of the patches compared": _data_log,
}


def measured(name: str, folder: Path) -> tuple[float, float]:
    """Seconds of CPU time and MiB above the input, in a process of its own."""
    work, seconds = SUBJECTS[name](folder), []
    peak = peak_above(lambda: seconds.append(clocked(work)))
    return seconds[0], peak


def measure(arguments: Any) -> Iterator[Measurement]:
    counts = [int(count) for count in arguments.patches]
    with tempfile.TemporaryDirectory() as place:
        folders = {count: Path(place) / str(count) for count in counts}
        for count, folder in folders.items():
            folder.mkdir()
            write_archive(folder, count)
        calls = [(name, folders[count]) for name in SUBJECTS for count in counts for _ in range(arguments.repeats)]
        found = iter(in_children(measured, calls))
    for name in SUBJECTS:
        smaller: Sequence[float] = ()
        for count in counts:
            seconds, peaks = zip(*islice(found, arguments.repeats), strict=True)
            what = f"{name}, archive of {count:,} patches"
            over: dict[str, Any] = {"over": smaller, "over_what": "a tenth of it", "at_most": TEN_TIMES}
            yield Measurement(what, seconds, "s of CPU", **(over if smaller else {}))
            yield Measurement(f"{what}, memory", peaks, "MiB")
            smaller = seconds


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
