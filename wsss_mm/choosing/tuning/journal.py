"""What was tried: a line of JSON a trial, keyed by all that decides it, so that a search that was killed goes on."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm.choosing.tuning.halving import Score

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

_DECIDES = ("seed", "classifier", "pseudo_labels", "choose_pseudo_labels", "segmenter")


def trial_key(params: "Params", made_of: Mapping[str, str]) -> str:
    """What decides a trial, as 16 hex digits.

    Args:
        params: with its values, seed and share of the training.
        made_of: digests of data and code.
    """
    settings = params.model_dump(mode="json", include=set(_DECIDES))
    settings["cohort"] = {"name": params.cohort.name, "vocabulary": params.cohort.vocabulary}
    settings["patches"] = {"min_class_share": params.patches.min_class_share}
    said = json.dumps([settings, dict(sorted(made_of.items()))], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


class TrialJournal:
    """The trials that were made here.

    Args:
        path: of the file; it and its folder are made when the first trial is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = dict(_rows(path))

    def get(self, key: str) -> Score | None:
        """The score of a trial, None if it was never made."""
        row = self._rows.get(key)
        if row is None:
            return None
        counts = row.get("counts")
        return Score(row["value"], row["seconds"], None if counts is None else np.asarray(counts, np.int64))

    def add(self, key: str, name: str, values: Mapping[str, Any], score: Score) -> None:
        """Add a trial: one write, so that what is killed leaves whole lines."""
        row: dict[str, Any] = {
            "key": key,
            "experiment": name,
            "values": dict(values),
            "value": score.value,
            "seconds": score.seconds,
        }
        row["counts"] = None if score.counts is None else score.counts.tolist()
        self._rows[key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.is_file() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if torn else "") + json.dumps(row) + "\n")


def _rows(path: Path) -> "dict[str, dict[str, Any]]":
    found: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            Score(float(row["value"]), float(row["seconds"]), _counts(row["counts"]))
            found[str(row["key"])] = row
        except (ValueError, KeyError, TypeError):
            if line.strip():
                logger.warning("%s: line %d is damaged and passed over: its trial is made again", path, number)
    return found


def _counts(counts: Any) -> Any:
    if counts is not None and np.asarray(counts, np.int64).ndim != 3:
        raise ValueError("no confusion matrices")
    return counts
