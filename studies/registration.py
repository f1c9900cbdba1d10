"""Pre-registration: what a study asks, in a file that is there before its first run, and the verdict it then allows.

A file of studies/registered/ says it all beforehand:

    question: Does cross-entropy serve WSSS4LUAD better than noise suppression?
    study: search              # whose rows: reports/studies/<study>.jsonl
    variants: encoders         # of search, whose file: studies/<variants>.yaml; that of the cohort if it is not said
    cohort: wsss4luad
    reference: profile
    variant: ce
    metric: miou
    threshold: 0.02            # what a gain must have to count
    seeds: [0, 1, 2]

A run writes the sha256 of every such file into its row, so that no clock has to be believed: a file that is younger
than a run, or was changed since, is not in that row, and gets no verdict.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studies.rows import read_rows
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.bootstrap import paired_interval
from wsss_mm.files import digest
from wsss_mm.yaml_places import YAMLError, parse

FOLDER = Path(__file__).parent / "registered"
KEY = "registered"
"""Of a row: name of each registration that was there when the run began, to its sha256."""
MATRICES = "matrices"
"""Of a row: slide to its confusion matrix, row = truth, which a verdict is bootstrapped over."""

_RESAMPLES = 2000

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Registration(BaseModel):
    """What one file says, see above."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    question: Text
    study: Literal["search", "ablation"]
    variants: Text | None = None
    cohort: Text
    reference: Text
    variant: Text
    metric: Literal["miou"]
    threshold: Annotated[float, Field(ge=0, lt=1)]
    seeds: Annotated[list[int], Field(min_length=2)]

    @property
    def file(self) -> Path:
        """Where its variants stand."""
        return FOLDER.parent / f"{self.variants or self.cohort}.yaml"


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        word: `better`, `worse` or `cannot tell`; None where there is no verdict.
        says: why, or why not, in a sentence.
        gain: mean over the seeds of the variant's metric less the reference's.
        low: of the 95 % interval of the gain, paired over slides.
        high: likewise.
    """

    word: str | None
    says: str
    gain: float | None = None
    low: float | None = None
    high: float | None = None


def read_registration(path: Path) -> Registration:
    """One file.

    Raises:
        InputError: it is no registration; names the field.
    """
    try:
        return Registration.model_validate(parse(path.read_text(encoding="utf-8")).content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {where}: {first['msg'].lower()}; see studies/registration.py") from None
    except (ValueError, OSError, YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None


def registered(folder: Path = FOLDER) -> dict[str, str]:
    """Name to sha256 of the registrations that are there now, for the row of a run that begins."""
    return {path.stem: digest(path) for path in sorted(folder.glob("*.yaml"))}


def verdict(path: Path, rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """The verdict that a registration allows over the rows of its study.

    Args:
        path: of the registration.
        rows: of that study; those of other cohorts, variants and seeds are passed over.

    Returns:
        `better` where the gain has the threshold and its interval lies above 0, `worse` likewise below, else `cannot
        tell`. None where a run is missing, began without this file as it stands, or has no matrices.
    """
    plan, own = read_registration(path), digest(path)
    pairs = []
    for seed in plan.seeds:
        found = []
        for name in (plan.reference, plan.variant):
            at = [r for r in rows if (r["cohort"], r["variant"], r["seed"]) == (plan.cohort, name, seed)]
            if not at:
                return Verdict(None, f"no run of {name} with seed {seed} yet")
            if at[-1].get(KEY, {}).get(path.stem) != own:
                return Verdict(None, f"no verdict: the file is younger than the run of {name} with seed {seed}")
            if MATRICES not in at[-1]:
                return Verdict(None, f"no verdict: the run of {name} with seed {seed} has no matrices of slides")
            found.append(at[-1])
        pairs.append(found)
    return _judged(plan, pairs)


def _judged(plan: Registration, pairs: Sequence[Sequence[Mapping[str, Any]]]) -> Verdict:
    gain = float(np.mean([after[plan.metric] - before[plan.metric] for before, after in pairs]))
    slides = sorted(pairs[0][0][MATRICES])
    if any(sorted(row[MATRICES]) != slides for pair in pairs for row in pair):
        return Verdict(None, "no verdict: the runs were judged on different slides", gain)
    stacks = [
        np.array([[pair[side][MATRICES][slide] for slide in slides] for pair in pairs], np.int64) for side in (0, 1)
    ]
    codes = [str(index) for index in range(stacks[0].shape[-1])]
    low, high = paired_interval(*stacks, codes, resamples=_RESAMPLES)
    if gain >= plan.threshold and low > 0:
        word = "better"
    elif -gain >= plan.threshold and high < 0:
        word = "worse"
    else:
        word = "cannot tell"
    says = f"{plan.variant} against {plan.reference}: {gain:+.3f} ({low:+.3f} to {high:+.3f}), {len(pairs)} seeds"
    return Verdict(word, f"{says}, {len(slides)} slides", gain, low, high)


def main() -> None:
    """Print the verdict of every registration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the registrations (default: %(default)s)")
    parser.add_argument("--rows", type=Path, default=places.STUDIES, help="of the rows (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        for path in sorted(arguments.folder.glob("*.yaml")):
            plan = read_registration(path)
            found = verdict(path, read_rows(arguments.rows / f"{plan.study}.jsonl"))
            sys.stdout.write(f"{path.stem}: {plan.question}\n  {found.word or 'refused'}: {found.says}\n")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
