"""What people wait for at the labelling page: journals, candidates, features, order, map, more like this, the curve.

In CPU time of one core, which other work disturbs less than the wall. Where a ratio stands, the bound was measured by
turns in the same run: the work that no other way of doing it saves.

    OMP_NUM_THREADS=1 python -m benchmarks.labelling
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.command import Option, Work, by_turns, run
from benchmarks.rows import Measurement
from wsss_mm import places
from wsss_mm.features.statistics import simple_features
from wsss_mm.labelling import Journal, new_entry, read_journals
from wsss_mm.labelling.candidates import read_candidates, write_candidates
from wsss_mm.sampling.curve import learning_curve
from wsss_mm.sampling.embedding import embed, similar
from wsss_mm.sampling.order import by_slide, useful_order
from wsss_mm.uris import shown

OPTIONS = {"share": Option(1.0, 0.01, "of the sizes that people wait for")}


def journal_of(folder: Path, count: int) -> Path:
    """A journal of as many answers as a cohort's patches, as one reader gives them in years."""
    shown_with = {"suggested": {"TE": 0.93, "LYM": 0.04}, "seconds": 4.2, "drawn": "useful"}
    first = new_entry(
        "answer", slide="s1", x=0, y=0, mpp=1.0, size=224, classes={"TE": "present", "LYM": "absent"}, **shown_with
    )
    journal = Journal(folder / "ann.jsonl", "ann")
    journal.append([first])
    lines = (json.dumps({**first, "id": f"{number:032x}", "x": number}) for number in range(1, count))
    with journal.path.open("a") as stream:
        stream.write("\n".join([*lines, ""]))
    return journal.path


def candidates_of(folder: Path, count: int) -> pd.DataFrame:
    """A table of candidates of a thousand slides."""
    row = np.arange(count)
    table = pd.DataFrame({"slide_id": [f"s{number:04d}" for number in row % 1000]})
    table["x"], table["y"] = row // 1000 % 100 * 448, row // 100_000 * 448
    table["patch_id"] = table["slide_id"] + "-" + table["x"].astype(str) + "-" + table["y"].astype(str)
    table["patient_id"], table["site"], table["split"] = table["slide_id"], "a", "train"
    table["mpp"], table["size"], table["tissue"] = 1.0, 224, 0.9
    table["focus"], table["haematoxylin"], table["eosin"] = 100.0, 0.2, 0.2
    table = table.sort_values("patch_id").reset_index(drop=True)
    write_candidates(table, folder)
    return table


def parts(folder: Path, share: float) -> dict[str, tuple[str, Work, str, Work | None]]:
    """What is measured by name: of how much, the work, and its bound.

    Args:
        folder: for files.
        share: of the sizes that people wait for.
    """
    rng = np.random.default_rng(0)
    many = int(100_000 * share)
    path = journal_of(folder / "labels", many)
    lines = path.read_bytes().splitlines()
    listed = candidates_of(folder / "candidates", 10 * many)
    table = folder / "candidates" / places.CANDIDATES_FILE
    features = rng.normal(size=(many, 64)).astype(np.float16)
    slides = pd.DataFrame({"slide_id": np.arange(many) % 60, "site": np.arange(many) % 5}).astype(str)
    scores, labelled = rng.random((many, 4)), rng.choice(many, many // 50, replace=False)
    known = rng.normal(size=(int(2000 * share), 512)).astype(np.float16)
    states = (known[:, :4] + rng.normal(size=(len(known), 4)) > 1).astype(np.int8)
    images = rng.integers(0, 256, (100, 224, 224, 3), dtype=np.uint8)
    text = "x://a:" * (many // 3)
    return {
        "journal read, answers that count": (
            f"{many:,} entries",
            lambda: read_journals(path.parent).answers(),
            "json.loads of the lines",
            lambda: [json.loads(line) for line in lines],
        ),
        "candidates read and checked": (
            f"{len(listed):,} rows",
            lambda: read_candidates(folder / "candidates"),
            "pandas.read_parquet",
            lambda: pd.read_parquet(table),
        ),
        "candidates in the order of slides": (
            f"{len(listed):,} rows",
            lambda: by_slide(listed),
            "pandas' sort by the same columns",
            lambda: listed.sort_values(["slide_id", "y", "x"]),
        ),
        "statistics of colour and texture": (
            f"{len(images)} patches of 224 px",
            lambda: simple_features(images),
            "",
            None,
        ),
        "the next 200 patches": (
            f"{many:,} candidates, 64 features",
            lambda: useful_order(features, scores, slides, labelled, 200),
            "",
            None,
        ),
        "map of the candidates": (f"{many // 2:,} patches", lambda: embed(features[: many // 2]), "", None),
        "more like this": (
            f"{many:,} patches",
            lambda: similar(features, 5, 50),
            "one float32 distance to all",
            lambda: np.square(features.astype(np.float32) - features[5]).sum(axis=1),
        ),
        "learning curve": (
            f"{len(known):,} labels, 512 features, 4 classes",
            lambda: learning_curve(known, states, np.arange(len(known)) % 25),
            "",
            None,
        ),
        "secrets hidden in a text": (
            f"{len(text):,} characters",
            lambda: shown(text),
            "twice half of it",
            lambda: (shown(text[: len(text) // 2]), shown(text[: len(text) // 2])),
        ),
    }


def measure(arguments) -> Iterator[Measurement]:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        for name, (size, work, bound_name, bound) in parts(Path(place), arguments.share).items():
            taken, *bounds = by_turns(*(item for item in (work, bound) if item), repeats=arguments.repeats)
            over = bounds[0] if bounds else ()
            yield Measurement(f"{name}, {size}", taken, "s", over=over, over_what=bound_name)


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
