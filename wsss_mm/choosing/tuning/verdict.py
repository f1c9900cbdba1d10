"""Whether what a search found is clearly better than the current setting, and where that is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wsss_mm.choosing.tuning.halving import RungTraining, Score
from wsss_mm.choosing.tuning.values import Values
from wsss_mm.errors import InputError
from wsss_mm.evaluation.bootstrap import paired_interval
from wsss_mm.files import atomic_path, locked
from wsss_mm.yaml_places import parse

LEAST_GAIN = 0.01
"""Less is a tie, however sure."""

_VALUE = r"[^\s#\[\]{}&*!|>'\"]+|\[[^\[\]#]*\]"  # in a line: a plain word or number, or a list of them
_SEEDS = 3  # fewer say nothing where no masks give an interval


@dataclass(frozen=True)
class Finalist:
    """A contender of the last rung.

    Attributes:
        contender: by its place among all, 0 is the current setting.
        value: mean over seeds.
        gain: over the current setting, None of that itself.
        interval: 95 %, of the gain; None where nothing gives one.
        verdict: better, worse, a tie or cannot tell; empty of the current setting.
    """

    contender: int
    value: float
    gain: float | None = None
    interval: tuple[float, float] | None = None
    verdict: str = ""


def judged(
    last: Sequence[RungTraining],
    scores: Mapping[RungTraining, Score | None],
    codes: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> list[Finalist]:
    """Rows of the last rung, the best first.

    With masks, the interval is a bootstrap of the validation slides, the same ones for both, over all seeds together.
    Without, it is the range over seeds, of which there must be three.

    Args:
        last: entries of the rung; contenders are compared on the seeds that they share with the current setting.
        scores: of each.
        codes: of the classes.
        resamples: behind the intervals.
        seed: of the draws.
    """
    of: dict[int, dict[int, Score]] = {}
    for entry in last:
        score = scores[entry]
        if score is not None:
            of.setdefault(entry.contender, {})[entry.seed] = score
    base, rows = of[0], []
    for contender, own in of.items():
        shared = [seed_ for seed_ in own if seed_ in base]
        if not shared:
            continue
        value = float(np.mean([own[seed_].value for seed_ in shared]))
        if contender == 0:
            rows.append(Finalist(0, value))
            continue
        pairs = [(base[seed_], own[seed_]) for seed_ in shared]
        gain = float(np.mean([second.value - first.value for first, second in pairs]))
        interval = _interval(pairs, codes, resamples=resamples, seed=seed)
        rows.append(Finalist(contender, value, gain, interval, _verdict(gain, interval)))
    return sorted(rows, key=lambda row: (-row.value, row.contender))


def chosen(rows: Sequence[Finalist]) -> int:
    """The best of those that are clearly better than the current setting; else that one."""
    return next((row.contender for row in rows if row.verdict == "better"), 0)


def _interval(
    pairs: Sequence[tuple[Score, Score]], codes: Sequence[str], *, resamples: int, seed: int
) -> tuple[float, float] | None:
    counts = [(first.counts, second.counts) for first, second in pairs]
    whole = [(first, second) for first, second in counts if first is not None and second is not None]
    if len(whole) == len(pairs) and len(whole[0][0]) > 1:
        before, after = (np.sum(side, axis=0) for side in zip(*whole, strict=True))
        return paired_interval(before, after, codes, resamples=resamples, seed=seed)
    gains = [second.value - first.value for first, second in pairs]
    return (min(gains), max(gains)) if len(gains) >= _SEEDS else None


def _verdict(gain: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "cannot tell"
    if interval[1] < 0:
        return "worse"
    if interval[0] <= 0:
        return "cannot tell"
    return "better" if gain >= LEAST_GAIN else "a tie"


def write_values(path: Path, values: Values) -> None:
    """Write values into params.yaml; every other line, and what stands behind a value, stays as it is.

    Raises:
        InputError: a value's line is none that can be written so; the message says which, and nothing is written.
    """
    with locked(path):
        text = path.read_text(encoding="utf-8")
        document, lines = parse(text), text.splitlines(keepends=True)
        for key, value in values.items():
            place = tuple(key.split("."))
            number = document.lines.get(place, 0)
            line = lines[number - 1] if number else ""
            found = re.fullmatch(rf"(\s*{re.escape(place[-1])}:\s+)({_VALUE})(\s.*)?", line, re.DOTALL)
            if found is None:
                raise InputError(
                    f"{path}: line {document.line(place)}: write {place[-1]}: {_text(value)} there by hand"
                )
            lines[number - 1] = f"{found[1]}{_text(value)}{found[3] or ''}"
        after = "".join(lines)
        if parse(after).content != _with(document.content, values):
            raise InputError(
                f"{path}: write these values by hand: {', '.join(f'{k}: {_text(v)}' for k, v in values.items())}"
            )
        with atomic_path(path) as temporary:
            temporary.write_text(after, encoding="utf-8")


def _with(content: Any, values: Values) -> Any:
    for key, value in values.items():
        *sections, name = key.split(".")
        node = content
        for section in sections:
            node = node[section]
        node[name] = value
    return content


def _text(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=4096).removesuffix("\n...\n").strip()
