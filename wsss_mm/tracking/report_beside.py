"""What stands beside a run on its page: the champion, maps of slides made with it, and the labels it learnt from."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.confusion import class_ious
from wsss_mm.formats import read_object
from wsss_mm.places import SLIDE_SUMMARY
from wsss_mm.settings import PARAMS_FILE, load_params
from wsss_mm.tracking.data_versions import DataVersion, cache_folder, label_counts, read_version
from wsss_mm.tracking.evidence import Evidence, run_evidence
from wsss_mm.tracking.finding import JUDGED_TAG, WEIGHTS_TAG
from wsss_mm.tracking.registry import CHAMPION, find_version
from wsss_mm.tracking.store import connect
from wsss_mm.vocabulary import SPLITS

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_MAPS = 6  # slides whose maps are shown
_MAP_SIDE = 1100  # px
_SEGMENTERS = ("train_segmenter", "evaluate")
"""Stages whose runs may have maps of slides."""
_SLIDES = 200  # rows of the table of labels


@dataclass(frozen=True)
class Champion:
    """The champion of a run's task.

    Attributes:
        title: Which version it is.
        itself: Whether the run made it.
        comparable: Whether both were tested on the same files; None where nobody knows.
        miou: Test mIoU of the champion.
        iou: Test IoU of each class that has truth.
    """

    title: str
    itself: bool
    comparable: bool | None
    miou: float | None
    iou: Mapping[str, float] = field(default_factory=dict)

    def beside(self, miou: float | None) -> str:
        """A sentence that holds it against the mIoU of a run."""
        if self.itself:
            return f"It is the champion: {self.title}."
        has = "no test mIoU" if self.miou is None else f"{self.miou:.3f} mIoU"
        said = f"The champion, {self.title}, has {has}"
        if self.comparable is None:
            return f"{said}; nobody knows whether on the same patches."
        if not self.comparable:
            return f"{said}, on other patches: the two are not to be compared."
        if miou is None or self.miou is None:
            return f"{said}."
        return f"{said} on the same patches: this is {miou - self.miou:+.3f}."


def champion_of(run: "Run", evidence: Evidence, folder: Path) -> Champion | None:
    """The champion that a run is held against; None where its task has none.

    The task is that of the versions made of the run, else the one that params.yaml here registers.

    Args:
        run: Which.
        evidence: Of the run.
        folder: To download into.
    """
    found = _champion(run)
    if found is None or found.run_id is None:
        return None
    theirs = connect().MlflowClient().get_run(found.run_id)
    its = run_evidence(found.run_id, folder)
    known = evidence.tested_on is not None and its.tested_on is not None
    figures = its.test.get("ungated") or _logged(theirs)
    return Champion(
        f"{found.name} version {found.version}",
        itself=weights_of(theirs) == weights_of(run) is not None or theirs.info.run_id == run.info.run_id,
        comparable=evidence.tested_on == its.tested_on if known else None,
        miou=figures.get("miou"),
        iou={code: value for code, value in class_ious(figures).items() if value is not None},
    )


def _champion(run: "Run") -> "ModelVersion | None":
    client = connect().MlflowClient()
    names = {version.name for version in client.search_model_versions(f"run_id = '{run.info.run_id}'")}
    if not names and Path(PARAMS_FILE).is_file():
        try:
            names = {load_params().register_.model_name} - {None}
        except InputError:  # whoever edits it is told by the stages
            return None
    for name in sorted(filter(None, names)):
        try:
            return find_version(name, CHAMPION)
        except InputError:
            continue
    return None


def _logged(run: "Run") -> dict[str, float]:
    prefix = "test.ungated."
    return {key.removeprefix(prefix): value for key, value in run.data.metrics.items() if key.startswith(prefix)}


def weights_of(run: "Run") -> str | None:
    """The md5 of the weights that a training made or an evaluation judged."""
    tags = run.data.tags
    return tags.get(WEIGHTS_TAG) or tags.get(JUDGED_TAG)


def slide_maps(run: "Run", embed: Callable[[Path, int], str]) -> dict[str, Any]:
    """Maps among the results here that were made with a run's weights, those that are worst first where truth tells.

    Args:
        run: Which.
        embed: Makes a data URI of a picture, at most so many px wide and high.

    Returns:
        `maps`, each with title and source; `of`, how many slides there are; and `why` there is no map, where a
        segmenter could have some.
    """
    weights, found, others = weights_of(run), [], 0
    for slide, row in _results():
        folder = places.RESULTS / slide
        try:
            summary = read_object(folder / places.SUMMARY, SLIDE_SUMMARY)
        except InputError:  # gate slides says what is wrong with it
            continue
        model = summary.get("model")
        if weights and isinstance(model, dict) and model.get("weights_md5") == weights:
            found.append((_figure(row.get("miou")), slide, folder / places.OVERLAY))
        else:
            others += 1
    found.sort(key=lambda item: (item[0] is None, item[0] or 0, item[1]))
    shown = [(miou, slide, path) for miou, slide, path in found if path.is_file()][:_MAPS]
    maps = [{"title": _map_title(slide, miou), "source": embed(path, _MAP_SIDE)} for miou, slide, path in shown]
    of_segmenter = run.data.tags.get("stage") in _SEGMENTERS
    return {"maps": maps, "of": len(found), "why": "" if maps or not of_segmenter else _no_maps(weights, found, others)}


def _no_maps(weights: str | None, found: Sequence[Any], others: int) -> str:
    """Why no map of a segmenter is shown: its weights, the slides found that it made, and how many others did."""
    if found:
        return f"the pictures of its {len(found)} are not here; bring them with: dvc checkout {places.RESULTS}"
    if not others:
        return f"none is in {places.RESULTS} yet"
    if weights is None:
        return "the run does not say which weights it made"
    slides, were = ("slide", "was") if others == 1 else (f"{others} slides", "were")
    said = f"the {slides} in {places.RESULTS} {were} segmented with other weights"
    return f"{said}; for maps of a registered version: wsss-mm segment SLIDE --model models:/NAME/VERSION"


def _results() -> Iterator[tuple[str, dict[str, str]]]:
    """The slides that stage export_slides finished, with their rows."""
    try:
        text = (places.RESULTS / places.SLIDES_TABLE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    for row in csv.DictReader(io.StringIO(text)):
        slide = row.get("slide_id") or ""
        if slide and slide == Path(slide).name:
            yield slide, row


def _map_title(slide: str, miou: float | None) -> str:
    return slide if miou is None else f"{slide}, mIoU {miou:.3f}"


def _figure(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def label_table(run: "Run", evidence: Evidence) -> dict[str, Any]:
    """How many patches hold each class, in each split and on each slide, of the patches that a run learnt from.

    Returns:
        `codes`, `splits` and `slides`, rows of name, split, patches and counts, and `more`, slides that are left out;
        or `why` there is none of it.
    """
    path = places.PATCHES.as_posix()
    md5 = evidence.digests.get(path) or run.data.tags.get(f"dvc.md5.{path}")
    if md5 is None:
        return {"why": ""}
    try:
        manifest, _ = read_version(DataVersion(md5, 0, 0, "", "", (), ""), cache_folder(Path()))
    except (InputError, OSError) as error:
        return {"why": f"Its patches are not here: {error}"}
    codes = list(label_counts(manifest))
    rows = [
        _counted(str(slide), patches, codes)
        for slide, patches in sorted(manifest.groupby("slide_id"), key=lambda item: str(item[0]))
    ]
    order = {split: index for index, split in enumerate(SPLITS)}
    rows.sort(key=lambda row: order.get(row["split"], len(order)))
    splits = [_counted(name, part, codes) for name in SPLITS if len(part := manifest[manifest["split"] == name])]
    return {"codes": codes, "splits": splits, "slides": rows[:_SLIDES], "more": max(0, len(rows) - _SLIDES)}


def _counted(name: str, patches: "pd.DataFrame", codes: list[str]) -> dict[str, Any]:
    counts = [int(patches[code].sum()) for code in codes]
    return {"name": name, "split": str(patches["split"].iloc[0]), "patches": len(patches), "counts": counts}
