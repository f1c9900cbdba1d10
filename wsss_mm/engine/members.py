"""Classifiers of several seeds: trained one after the other, and put together when all are done."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import barrier, is_main_process

from wsss_mm import places
from wsss_mm.engine.card import model_card
from wsss_mm.engine.training import Paths, train_classifier
from wsss_mm.engine.workdir import fingerprint, work_folder
from wsss_mm.files import atomic_folder, atomic_path, write_text
from wsss_mm.models.description import described, folder_digest
from wsss_mm.models.members import MEMBERS, member_folders
from wsss_mm.models.store import copy_model

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

SEEDS_APART = 1000
"""Between the seeds of two members: lines of seeds 0, 1, 2 have no classifier in common."""


def train_classifiers(params: "Params", paths: Paths) -> list[dict[str, float]]:
    """Train as many classifiers as `classifier.members` says, and write them as one model folder, with curves.

    The first one has the seed of params.yaml and is the model; each further one has a seed that is `SEEDS_APART` above
    that of the one before. What is finished is kept until all are: a training that breaks off goes on with the one it
    was at. Curves are those of the first.

    Returns:
        Metrics of the last validation of each, the first one first, see `train_classifier`.

    Raises:
        InputError: see `train_classifier`.
    """
    count = params.classifier.members
    if count == 1:
        return [train_classifier(params, paths)]
    settings = params.classifier.model_dump(mode="json", exclude={"members"})
    about = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "classifier": settings}
    key = fingerprint(about, [paths.patches / places.MANIFEST])
    with work_folder("classifier_members", key, paths.work) as folder:
        kept = [folder / str(number) for number in range(count)]
        metrics = []
        for number, place in enumerate(kept):
            own = params.model_copy(update={"seed": params.seed + SEEDS_APART * number})
            logger.info("classifier %d of %d, seed %d", number + 1, count, own.seed)
            where = replace(paths, out=place / "model", curves=place / places.CURVES)
            metrics.append(train_classifier(own, where, kept=place / "training.txt", tracked=number == 0))
        barrier()  # no process still looks at what is kept
        if is_main_process():
            _put_together([place / "model" for place in kept], paths.out, folder / "together")
            with atomic_path(paths.curves) as temporary:
                shutil.copyfile(kept[0] / places.CURVES, temporary)
    return metrics


def _put_together(models: Sequence[Path], out: Path, scratch: Path) -> None:
    """Write models as one folder, whole or not at all: the first names the digests of the others, which lie in it."""
    first, *others = models
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed here
    copy_model(first, scratch, {MEMBERS: [folder_digest(other) for other in others]})
    write_text(scratch / places.CARD, model_card(described(scratch)))
    for other, place in zip(others, member_folders(scratch, len(others)), strict=True):
        copy_model(other, place, {})
    with atomic_folder(out) as new:
        shutil.copytree(scratch, new, dirs_exist_ok=True)
