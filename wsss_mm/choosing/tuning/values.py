"""Which training values are tried: a grid of keys of params.yaml, the current setting first, then what is nearest."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.settings import checked
from wsss_mm.yaml_places import read, suggestion

if TYPE_CHECKING:
    from wsss_mm.settings import Params

Values = Mapping[str, Any]
"""What a contender changes, by keys such as `segmenter.lr`; nothing for the current setting."""

SECTIONS = ("classifier", "segmenter")
LENGTHS = {"classifier": "classifier.epochs", "segmenter": "segmenter.iterations"}
"""What a share of a training is a share of."""

_MOST, _COMBINED = 100, 20_000  # contenders, and combinations of a grid they are drawn from: more are never reached
_FIXED = {
    "classifier.weights": "which files DVC watches is decided in params.yaml alone",
    "segmenter.weights": "which files DVC watches is decided in params.yaml alone",
    "classifier.width": "networks of other sizes are no question of training",
    "segmenter.width": "networks of other sizes are no question of training",
}


def default_grid(params: "Params", *, masks: bool) -> dict[str, list[Any]]:
    """The few values that matter most: half and double of epochs, iterations and learning rates, loss, averaging.

    Args:
        params: the current setting.
        masks: whether a segmenter can be judged; without, the classifier alone is tuned.
    """
    classifier, segmenter = params.classifier, params.segmenter
    grid: dict[str, list[Any]] = {
        "classifier.lr": [_tidy(classifier.lr * factor) for factor in (0.5, 1, 2)],
        "classifier.epochs": [classifier.epochs, 2 * classifier.epochs],
        "classifier.averaging": [0.0, 0.98],
    }
    if not masks:
        return grid
    return {
        "segmenter.loss": ["ce", "onss"],
        "segmenter.lr": [_tidy(segmenter.lr * factor) for factor in (0.5, 1, 2)],
        "segmenter.iterations": [segmenter.iterations, 2 * segmenter.iterations],
        **grid,
    }


def read_grid(path: Path) -> dict[str, list[Any]]:
    """Read a grid: a mapping of keys of params.yaml to lists of values.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    again = "give a list of values for each key, such as segmenter.lr: [0.001, 0.002]"
    document = read(path, absent=again)
    if not isinstance(document.content, dict) or not document.content:
        raise InputError(f"{path}: holds no values to try; {again}")
    for key, values in document.content.items():
        if not isinstance(values, list) or not values:
            raise document.fault((key,), f"{key}: holds no list of values; {again}")
    return {str(key): values for key, values in document.content.items()}


def check_grid(grid: Mapping[str, Sequence[Any]], params: "Params", *, masks: bool, where: str) -> None:
    """Refuse a grid with a key or value that params.yaml does not take, or that nothing could judge.

    Raises:
        InputError: there is one; the message names it.
    """
    known = _current(params)
    for key, values in grid.items():
        if key not in known:
            if key.partition(".")[0] not in SECTIONS:
                raise InputError(f"{where}: {key}: is not tuned; give keys of {' and '.join(SECTIONS)}")
            raise InputError(f"{where}: {key}: not a parameter{suggestion(key, known) or '; see params.yaml'}")
        if key in _FIXED:
            raise InputError(f"{where}: {key}: {_FIXED[key]}; leave it out")
        if key.startswith("segmenter.") and not masks:
            raise InputError(
                f"{where}: {key}: no validation patch has a mask to judge a segmenter on; draw some (wsss-mm label), "
                "or give keys of classifier alone"
            )
        for value in values:
            with_values(params, {key: value}, where)


def with_values(params: "Params", values: Values, where: str) -> "Params":
    """Params with values in place, checked as params.yaml is.

    Args:
        params: the others.
        values: by keys such as `segmenter.loss`.
        where: what a message names as the place of a fault.

    Raises:
        InputError: a key does not exist or its value is wrong.
    """
    content = params.model_dump(mode="json", by_alias=True)
    for key, value in values.items():
        *sections, name = key.split(".")
        node: Any = content
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if not isinstance(node, dict) or name not in node:
            raise InputError(f"{key}: not a parameter; see params.yaml")
        node[name] = value
    return checked(content, where)


def contenders(grid: Mapping[str, Sequence[Any]], params: "Params", *, seed: int) -> list[Values]:
    """What is tried, in the order in which a short time cuts it off: no change, one change, then several at random.

    Combinations that params.yaml does not take are left out.
    """
    current = _current(params)
    combined = itertools.islice(itertools.product(*grid.values()), _COMBINED)
    found: list[dict[str, Any]] = [{}]
    for values in combined:
        changed = {key: value for key, value in zip(grid, values, strict=True) if value != current[key]}
        if changed:
            found.append(changed)
    order = np.random.default_rng(seed).permutation(len(found))
    ranked = sorted(zip(found, order, strict=True), key=lambda pair: (min(len(pair[0]), 2), _place(pair, grid)))
    fitting = (values for values, _ in ranked if _fits(params, values))
    return list(itertools.islice(fitting, _MOST))


def shortened(params: "Params", share: float) -> "Params":
    """Params whose trainings take a share of their length, with whole schedules: warm-up and decay shrink with them."""
    epochs = max(1, round(params.classifier.epochs * share))
    iterations = max(2, round(params.segmenter.iterations * share))
    values = {
        LENGTHS["classifier"]: epochs,
        LENGTHS["segmenter"]: iterations,
        "segmenter.val_interval": max(1, min(params.segmenter.val_interval, iterations // 2)),
    }
    return params if share == 1 else with_values(params, values, f"a share of {share:.2f} of the training")


def work(params: "Params", base: "Params", *, both: bool) -> float:
    """How long a trial takes beside one of the current setting, about: 1 for as many epochs and iterations."""
    parts = [params.classifier.epochs / base.classifier.epochs]
    if both:
        parts.append(params.segmenter.iterations / base.segmenter.iterations)
    return sum(parts) / len(parts)


def contender_text(values: Values) -> str:
    """A contender as people read it."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )


def _current(params: "Params") -> dict[str, Any]:
    content = params.model_dump(mode="json", by_alias=True)
    return {f"{section}.{name}": value for section in SECTIONS for name, value in content[section].items()}


def _fits(params: "Params", values: Values) -> bool:
    try:
        with_values(params, values, "a combination")
    except InputError:
        return False
    return True


def _place(pair: tuple[dict[str, Any], int], grid: Mapping[str, Any]) -> tuple[int, int]:
    """Single changes come in the grid's order, round and round its keys; others by a draw."""
    values, drawn = pair
    if len(values) != 1:
        return int(drawn), 0
    ((key, value),) = values.items()
    return list(grid[key]).index(value), list(grid).index(key)


def _tidy(value: float) -> float:
    return float(f"{value:.3g}")
