"""Unlabelled slides whose truth a test knows and the project does not: a scripted reader answers from it.

oracle = make_unlabelled(tmp_path)             # slides.csv, params.yaml, data/cohort and data/candidates
oracle.truth_labels(oracle.candidates()["patch_id"])    # (N, C) bool
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines import candidates as candidates_stage
from pipelines import cohort as cohort_stage
from tests.gates.project import inside
from tests.settings import content_of, write_settings
from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.labelling.candidates import read_candidates
from wsss_mm.patches.truth import classes_in, read_map_truth
from wsss_mm.settings import Params
from wsss_mm.slides.phantom import generate_cohort
from wsss_mm.vocabulary import Split, Vocabulary, get_vocabulary

SLIDES: Mapping[Split, int] = {"train": 1, "valid": 1, "test": 1}


@dataclass(frozen=True)
class Unlabelled:
    """A project of slides without labels, and what only the test knows of them.

    Attributes:
        root: the project.
        params: what its params.yaml says.
        hidden: folder of the true label maps, which no stage finds.
    """

    root: Path
    params: Params
    hidden: Path

    @property
    def vocabulary(self) -> Vocabulary:
        return get_vocabulary(self.params.cohort.vocabulary)

    def cohort(self) -> Cohort:
        return Cohort.read(self.root / TABLE)

    def candidates(self) -> pd.DataFrame:
        return read_candidates(self.root / places.CANDIDATES)

    def truth_labels(self, patch_ids: Iterable[str]) -> npt.NDArray[np.bool_]:
        """(N, C) which classes each patch holds, as an expert sees it, in the vocabulary's order."""
        settings, truths, found = self.params.patches, cache(self._truth), []
        for patch_id in patch_ids:
            slide_id, x, y = patch_id.rsplit("-", 2)
            mask = truths(slide_id).mask(int(x), int(y), settings.size, settings.mpp)
            found.append(classes_in(mask, len(self.vocabulary), settings.min_class_share))
        return np.array(found, bool).reshape(-1, len(self.vocabulary))

    def true_codes(self, patch_id: str) -> list[str]:
        """Codes of the classes that a patch holds."""
        return [
            code for code, holds in zip(self.vocabulary.codes, self.truth_labels([patch_id])[0], strict=True) if holds
        ]

    def _truth(self, slide_id: str) -> Any:
        slide = next(slide for slide in self.cohort() if slide.slide_id == slide_id)
        with slide.open() as reader:
            return read_map_truth(self.hidden / f"{slide_id}.tif", reader, self.vocabulary)


def make_unlabelled(
    root: Path,
    slides: Mapping[Split, int] = SLIDES,
    *,
    side: int = 1024,
    size: int = 64,
    seed: int = 0,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Unlabelled:
    """Make slides and a project around them, up to the stage of candidates.

    Args:
        root: the project's folder; made if need be.
        slides: number of slides of each split, a patient each.
        side: width and height of a slide, px at 0.5 um/px: 1024 px take about a second.
        size: of a patch, px at 1 um/px: a slide of 1024 px holds 8 x 8 of 64 px, fewer where there is no tissue.
        seed: of the slides.
        changes: more of params.yaml, by section.
    """
    root.mkdir(parents=True, exist_ok=True)
    content = content_of("phantom")
    content["cohort"] |= {"name": "slides", "source": "own/slides.csv", "labels": "data/labels.csv"}
    content["patches"] |= {"size": size}
    content["segmenter"] |= {"crop": size}
    content["register"] |= {"model_name": None}
    for section, values in (changes or {}).items():
        content[section] |= values
    params = Params.model_validate(content)
    write_settings(root, content)
    table = generate_cohort(
        root / "own", slides, side, seed, vocabulary=get_vocabulary(params.cohort.vocabulary), workers=1, progress=False
    )
    table.to_csv(root / "own" / places.SLIDES_TABLE, index=False)
    (root / places.DATA).mkdir(exist_ok=True)
    (root / params.cohort.labels).write_text("slide_id,x,y,labels\n")
    hidden = Path(shutil.move(root / "own" / places.TRUTH, root / "hidden"))
    with inside(root):
        cohort_stage.main(params)
        candidates_stage.main(params)
    return Unlabelled(root, params, hidden)
