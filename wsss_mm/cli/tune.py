"""`wsss-mm tune`: try values of the trainings within a time, on the validation split."""

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.choosing.tuning.halving import Halving, RungTraining, Score
    from wsss_mm.choosing.tuning.values import Values
    from wsss_mm.choosing.tuning.verdict import Finalist
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_RESAMPLES = 1000


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "tune",
        help="try values of the trainings within a time",
        description="Try values of both trainings by successive halving: many short trainings, of which the better "
        "third goes on to longer ones. The validation split alone judges: by the segmenter's mIoU, or, where it has no "
        "masks, by the classifier's mean AP. Each trial is an experiment of DVC; the same command goes on where it was "
        "stopped. What is not clearly better than params.yaml is not chosen.",
        epilog="Example: wsss-mm tune --budget 2h --apply",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--budget", type=_seconds, required=True, help="time for all trials, such as 90m or 2h")
    parser.add_argument(
        "--values",
        type=Path,
        metavar="FILE",
        help="YAML with a list of values for each key, such as segmenter.lr: [0.001, 0.002]; else half and double of "
        "what params.yaml has, for the few keys that matter most",
    )
    parser.add_argument("--seeds", type=_count, default=1, help="trainings of each setting in the last rung")
    parser.add_argument("--apply", action="store_true", help="write what is chosen into params.yaml")
    parser.add_argument("--no-queue", action="store_true", help="without DVC's queue: trials run here, one by one")
    parser.set_defaults(handler=_tune)


def _tune(arguments: argparse.Namespace) -> None:
    from wsss_mm.choosing.tuning import values as of
    from wsss_mm.choosing.tuning.experiments import Experiments, check_project, code_digest
    from wsss_mm.choosing.tuning.halving import Halving
    from wsss_mm.choosing.tuning.journal import TrialJournal
    from wsss_mm.choosing.tuning.verdict import chosen, judged, write_values
    from wsss_mm.files import digest
    from wsss_mm.patches import read_manifest
    from wsss_mm.settings import load_params
    from wsss_mm.vocabulary import get_vocabulary

    root = Path()
    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    check_project(root)
    valid = read_manifest(places.PATCHES, vocabulary).query("split == 'valid'")
    if valid.empty:
        raise InputError(
            f"{places.PATCHES}/{places.MANIFEST}: no validation patch, on which trials are judged; raise "
            "patches.valid_share, or give slides of split valid"
        )
    masks = bool(valid["mask_path"].notna().any())
    measure = "mIoU of the segmenter" if masks else "mean AP of the classifier"
    if not masks:
        logger.warning("no validation patch has a mask: the classifier alone is tuned, by its mean AP on label sets")
    else:
        _tell_of_few(int(valid.loc[valid["mask_path"].notna(), "patient_id"].nunique()))
    grid = of.default_grid(params, masks=masks) if arguments.values is None else of.read_grid(arguments.values)
    where = str(arguments.values or "values")
    of.check_grid(grid, params, masks=masks, where=where)
    contenders = of.contenders(grid, params, seed=params.seed)
    if len(contenders) < 2:
        raise InputError(f"{where}: nothing but what params.yaml has; give other values to try")
    settings = [of.with_values(params, values, where) for values in contenders]
    journal = TrialJournal(places.TUNE_WORK / "journal.jsonl")
    made_of = {"patches": digest(places.PATCHES / places.MANIFEST), "code": code_digest(root)}
    runner = _Runner(journal, Experiments(root, params, queue=not arguments.no_queue), settings, contenders, made_of)
    halving = Halving(
        contenders,
        [of.work(own, params, both=masks) for own in settings],
        runner,
        arguments.budget,
        [params.seed + index for index in range(arguments.seeds)],
        logger.warning if logger.isEnabledFor(logging.WARNING) else logger.info,
    )
    last = halving()
    rows = judged(last, halving.scores, vocabulary.codes, resamples=_RESAMPLES, seed=params.seed)
    taken = chosen(rows)
    _report(halving, last, rows, taken, measure)
    if not taken:
        return
    if arguments.apply:
        write_values(Path(places.PARAMS_FILE), contenders[taken])
        sys.stdout.write(f"{places.PARAMS_FILE}: written; dvc repro trains with it\n")
    else:
        sys.stdout.write("--apply writes it into params.yaml\n")


def _tell_of_few(patients: int) -> None:
    """Warn where trials are judged on so few slides that another one may say otherwise."""
    from wsss_mm.choosing.rules import LEAST_UNITS

    if patients < LEAST_UNITS:
        noun = "patient" if patients == 1 else "patients"
        logger.warning(
            "masks of %d validation %s judge the trials; with fewer than %d, what is better may be worse elsewhere",
            patients,
            noun,
            LEAST_UNITS,
        )


class _Runner:
    """Makes the trials of entries, but for those that the journal has."""

    def __init__(
        self,
        journal: Any,
        experiments: Any,
        settings: "Sequence[Params]",
        contenders: "Sequence[Values]",
        made_of: Mapping[str, str],
    ) -> None:
        self._journal, self._experiments = journal, experiments
        self._settings, self._contenders, self._made_of = settings, contenders, made_of

    def __call__(self, entries: "Sequence[RungTraining]") -> "Iterator[tuple[RungTraining, Score | None]]":
        from wsss_mm.choosing.tuning.experiments import Trial
        from wsss_mm.choosing.tuning.journal import trial_key
        from wsss_mm.choosing.tuning.values import shortened

        waiting = {}
        for entry in entries:
            params = shortened(self._settings[entry.contender], entry.share).model_copy(update={"seed": entry.seed})
            key = trial_key(params, self._made_of)
            score = self._journal.get(key)
            if score is not None:
                yield entry, score
                continue
            waiting[f"tune-{key[:12]}"] = (entry, key, params)
        running = self._experiments([Trial(name, params) for name, (_, _, params) in waiting.items()])
        try:
            for trial, score in running:
                entry, key, _ = waiting[trial.name]
                if score is not None:
                    self._journal.add(key, trial.name, self._contenders[entry.contender], score)
                yield entry, score
        finally:
            running.close()


def _report(
    halving: "Halving", last: "Sequence[RungTraining]", rows: "Sequence[Finalist]", taken: int, measure: str
) -> None:
    """Print the table of the last rung, and what was chosen."""
    share = f"{last[0].share:.0%} of the training" if last[0].share < 1 else "whole trainings"
    lines = [f"{measure} on the validation split, {share}, {len({entry.seed for entry in last})} seed(s):"]
    for row in rows:
        gain = "" if row.gain is None else f"{row.gain:+.3f}"
        interval = "" if row.interval is None else f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}"
        mark = "*" if row.contender == taken else " "
        lines.append(
            f"{mark} {row.value:.3f}  {gain:>6}  {interval:>16}  {row.verdict:<11}  {halving.name(row.contender)}"
        )
    best = rows[0]
    if taken:
        lines.append(f"chosen: {halving.name(taken)}, clearly better than params.yaml")
    elif best.contender:
        why = f"{best.verdict}" + (", which --seeds 3 may change" if best.interval is None else "")
        lines.append(f"chosen: params.yaml as it is; the best beside it, {halving.name(best.contender)}: {why}")
    else:
        lines.append("chosen: params.yaml as it is, the best of all")
    sys.stdout.write("\n".join(line.rstrip() for line in lines) + "\n")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", text.strip())
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number and s, m, h or d, such as 2h")
    return float(found[1]) * _UNITS[found[2]]


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 to 100")
    return int(text)
