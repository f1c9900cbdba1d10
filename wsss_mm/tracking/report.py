"""One page of HTML on a run, with nothing beside it: what, on what data, how good, where it fails, pictures first."""

import base64
import io
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.choosing import read_choice
from wsss_mm.errors import InputError
from wsss_mm.evaluation.confusion import class_ious
from wsss_mm.formats import read_object
from wsss_mm.gates import GATES, report_path
from wsss_mm.outage import is_outage
from wsss_mm.pages import environment
from wsss_mm.places import GATE_REPORT
from wsss_mm.tracking.card import failures, lineage_rows
from wsss_mm.tracking.evidence import Evidence, read_confusion, run_evidence
from wsss_mm.tracking.finding import BEGAN_TAG, EXPERIMENT_TAG, PARENT_TAG, newest_first
from wsss_mm.tracking.registry import find_version, parse_uri
from wsss_mm.tracking.report_beside import champion_of, label_table, slide_maps
from wsss_mm.tracking.store import connect, without_bars
from wsss_mm.vocabulary import get_vocabulary, vocabulary_names

if TYPE_CHECKING:
    from mlflow.entities import Run

    from wsss_mm.choosing import Choice

_TEMPLATE = "report.html"
_EXAMPLE = re.compile(r"images/(?P<name>[^+]+)\+step\+(?P<step>\d+)\+timestamp\+[^+]+\+[^+]+\.png$")
_EXAMPLES = 6
_QUALITY = 88  # of WebP
_POINTS = 300  # of a curve
_WIDTH, _HEIGHT = 560.0, 160.0  # px of a curve's plane
_GREY = "#888888"
_WANTED = ("train_segmenter", "evaluate", "train_classifier")
_CURVES = {
    "loss": "Loss",
    "valid/miou": "mIoU on the validation split",
    "valid/mean_ap": "Mean AP on the validation split",
}
_SHEETS = {
    "test": "Patches of the test split with the fewest, a middling number of and the most wrong pixels",
    "choose_pseudo_labels": "Settings of pseudo-labels that were tried on the validation masks",
    "pseudo_labels": "Pseudo-labels the segmenter was trained on",
}
_OF_SITES = (
    "How well the site can be read from what the classifier sees, beside how well the tissue can: "
    "what tells sites apart may be taken for tissue, and slides of another site may fare worse"
)


def find_run_of(what: str) -> tuple["Run", str]:
    """A run and what to call it.

    Args:
        what: "models:/NAME/VERSION", a run id, or the name of a run, which is that of its DVC experiment: the newest
            training of a segmenter of that name, else the newest evaluation, else the newest run.

    Raises:
        InputError: there is none.
    """
    mlflow = connect()
    client = mlflow.MlflowClient()
    if what.startswith("models:/"):
        version = find_version(*parse_uri(what))
        aliases = f", {' and '.join(version.aliases)}" if version.aliases else ""
        return client.get_run(version.run_id), f"{version.name} version {version.version}{aliases}"
    if re.fullmatch("[0-9a-f]{32}", what):
        try:
            run = client.get_run(what)
        except mlflow.exceptions.MlflowException as error:
            if is_outage(error):
                raise
            raise InputError(f"{what}: no such run in {mlflow.get_tracking_uri()}; look with: make ui") from None
        return run, run.info.run_name
    if "'" in what:
        raise InputError(f"{what!r} is no run's name: it holds a quote")
    runs = newest_first(client, f"attributes.run_name = '{what}'")
    if not runs:
        raise InputError(f"{what}: no run of that name in {mlflow.get_tracking_uri()}; look with: make ui")
    return min(runs, key=lambda run: _rank(run.data.tags.get("stage", ""))), what


def _rank(stage: str) -> int:
    """What a name means first: the training it was given to, or the evaluation if nothing was trained."""
    return _WANTED.index(stage) if stage in _WANTED else len(_WANTED)


def render_report(run: "Run", title: str) -> str:
    """The page of a run; everything that comes from the store is escaped, and the page loads nothing."""
    with tempfile.TemporaryDirectory() as folder, without_bars():
        evidence = run_evidence(run.info.run_id, Path(folder) / "evidence")
        context = _facts(run, title) | _judged(run, evidence) | _pictures(run, evidence, Path(folder) / "examples")
        context |= {"champion": champion_of(run, evidence, Path(folder) / "champion")}
        context |= {"slides": slide_maps(run, _embedded), "labels": label_table(run, evidence)}
    return environment("wsss_mm.tracking", ".").get_template(_TEMPLATE).render(context)


def _facts(run: "Run", title: str) -> dict[str, Any]:
    tags = run.data.tags
    started = datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc)
    minutes = (run.info.end_time - run.info.start_time) / 60000 if run.info.end_time else None
    facts = {
        "Stage": tags.get("stage", "unknown"),
        "DVC experiment": tags.get("dvc.experiment", "none"),
        "Started": started.strftime("%Y-%m-%d %H:%M UTC"),
        "Duration": f"{minutes:.1f} min" if minutes is not None else "still running",
        "Git commit": tags.get("git.commit", "none")
        + (", with changes: git.diff" if tags.get("git.dirty") == "true" else "")
        + (f" ({tags['git.problem']})" if "git.problem" in tags else ""),
        **_beginning(tags),
        "Run": run.info.run_id,
        **_training(run),
    }
    inputs = {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs} if run.inputs else {}
    return {
        "title": title,
        "status": run.info.status,
        "error": tags.get("error", ""),
        "facts": facts,
        "inputs": inputs,
        "params": dict(sorted(run.data.params.items())),
        "metrics": {name: value for name, value in sorted(run.data.metrics.items()) if not name.startswith("system/")},
        "curves": [curve for name, text in _CURVES.items() if (curve := _curve(run, name, text))],
    }


def _beginning(tags: Mapping[str, str]) -> dict[str, str]:
    """The weights that a training began with."""
    if BEGAN_TAG not in tags:
        return {}
    return {"Began with": f"{tags[BEGAN_TAG]}, sha256 {tags.get(BEGAN_TAG + '_sha256', 'unknown')}"}


def _training(run: "Run") -> dict[str, str]:
    """The training that an evaluation belongs to."""
    parent = run.data.tags.get(PARENT_TAG)
    if parent is None:
        return {}
    mlflow = connect()
    try:
        training = mlflow.MlflowClient().get_run(parent)
    except mlflow.exceptions.MlflowException as error:
        if is_outage(error):
            raise
        return {"Evaluation of": f"run {parent}, which is not in this store"}
    experiment = training.data.tags.get(EXPERIMENT_TAG, "none")
    return {"Evaluation of": f"{training.info.run_name}, run {parent}, DVC experiment {experiment}"}


def _judged(run: "Run", evidence: Evidence) -> dict[str, Any]:
    name = run.data.params.get("vocabulary")
    vocabulary = get_vocabulary(name) if name in vocabulary_names() else None
    colors = {c.code: c.hex_color for c in vocabulary.classes} if vocabulary else {}
    names = {c.code: c.name for c in vocabulary.classes} if vocabulary else {}
    confused, (scored, scores) = failures(evidence), _scores(run, evidence)
    classes = [
        {
            "code": code,
            "name": names.get(code, ""),
            "color": colors.get(code, _GREY),
            "score": scores.get(code),
            "interval": evidence.interval(f"iou.{code}"),
            "confused": confused.get(code),
            "worst": evidence.test.get("failed_patches", {}).get(code, []),
        }
        for code in (names or scores)
    ]
    return {
        "probe": evidence.probe,
        "classes": classes if scores else [],
        "scored": scored,
        "test": evidence.test,
        "miou": evidence.miou if evidence.test else run.data.metrics.get("test.ungated.miou"),
        "interval": evidence.interval(),
        "confusion": read_confusion(evidence),
        "sites": _sites(evidence),
        "gates": _gates(evidence),
        "choice": _choice(evidence),
        "lineage": lineage_rows(evidence) if evidence.digests else [],
    }


def _scores(run: "Run", evidence: Evidence) -> tuple[str, dict[str, float | None]]:
    """What classes are judged by, and each one's score: of the test split, or else of the validation split."""
    metrics = run.data.metrics
    for text, prefix, values in (
        ("Test IoU", "iou.", evidence.test.get("ungated", {})),
        ("Test IoU", "test.ungated.iou.", metrics),  # an experiment that ended before `register` has no evidence
        ("Validation IoU", "valid/iou.", metrics),
        ("Validation AP", "valid/ap.", metrics),
    ):
        found = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
        if found:
            return text, found
    return "", {}


def _sites(evidence: Evidence) -> list[dict[str, Any]]:
    """A row a site of the test split; none where it is of one site, or nobody knows."""
    found = evidence.test.get("sites")
    rows = found.items() if isinstance(found, dict) else ()
    return [{"name": name, **_site(figures)} for name, figures in rows if isinstance(figures, dict)]


def _site(figures: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    counts = {key: numbers.get(key, 0) for key in ("n_patches", "n_slides")}
    return {**counts, "miou": numbers.get("miou"), "iou": class_ious(numbers)}


def _choice(evidence: Evidence) -> "Choice | None":
    """The settings of pseudo-labels, with what was tried and what labels cannot teach; None of a run without."""
    path = evidence.folder / places.CHOICE_FILE
    return read_choice(path) if path.is_file() else None


def _gates(evidence: Evidence) -> list[dict[str, Any]]:
    found = []
    for name in GATES:
        path = evidence.folder / report_path(name)
        if path.is_file():
            try:
                checks = list(read_object(path, GATE_REPORT).get("checks", []))
                failed = [check.get("says", "") for check in checks if not (check.get("passed") or "because" in check)]
            except (AttributeError, TypeError):
                raise InputError(f"{path}: no report of a gate; make it again: dvc repro gate@{name}") from None
            found.append({"name": name, "outcome": evidence.gates[name], "checks": len(checks), "failed": failed})
    return found


def _pictures(run: "Run", evidence: Evidence, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    sheets = [
        {"title": text, "source": _embedded(path)}
        for name, text in _SHEETS.items()
        if (path := _sheet(run, evidence, name, folder)) is not None
    ]
    if (path := _sites_figure(run, evidence, folder)) is not None:
        sheets.append({"title": _OF_SITES, "source": _embedded(path)})
    return {"sheets": sheets, "examples": _examples(run, folder)}


def _sites_figure(run: "Run", evidence: Evidence, folder: Path) -> Path | None:
    """What the training of the classifier drew of its cohort's sites; None of a single site, or without its run."""
    own = run.data.tags.get("stage") == "train_classifier"
    which = run.info.run_id if own else evidence.lineage.get("runs", {}).get("train_classifier")
    if not which:
        return None
    mlflow = connect()
    client = mlflow.MlflowClient()
    try:
        there = {item.path for item in client.list_artifacts(which, str(Path(places.SITES_FIGURE).parent))}
    except mlflow.exceptions.MlflowException as error:
        if is_outage(error):
            raise
        return None
    found = places.SITES_FIGURE in there
    return Path(client.download_artifacts(which, places.SITES_FIGURE, str(folder))) if found else None


def _sheet(run: "Run", evidence: Evidence, name: str, folder: Path) -> Path | None:
    """A contact sheet of the line: of its evidence, or else what stage `evaluate` added to the run."""
    kept = evidence.folder / places.PICTURES / f"{name}.png"
    if kept.is_file():
        return kept
    client = connect().MlflowClient()
    paths = {item.path for item in client.list_artifacts(run.info.run_id, "pictures")}
    wanted = f"pictures/{name}.png"
    return Path(client.download_artifacts(run.info.run_id, wanted, str(folder))) if wanted in paths else None


def _examples(run: "Run", folder: Path) -> list[dict[str, str]]:
    """The last pictures of example patches that were logged while training, validation patches first."""
    mlflow = connect()
    client = mlflow.MlflowClient()
    last: dict[str, tuple[int, str]] = {}
    for item in client.list_artifacts(run.info.run_id, "images"):
        match = _EXAMPLE.fullmatch(item.path)
        if match:
            name, step = match["name"].replace("~", "/"), int(match["step"])
            last[name] = max(last.get(name, (-1, "")), (step, item.path))
    chosen = sorted(last, key=lambda name: ("valid" not in name, name))[:_EXAMPLES]
    return [
        {
            "title": f"{_example_title(name)}, step {last[name][0]}",
            "source": _embedded(Path(client.download_artifacts(run.info.run_id, last[name][1], str(folder)))),
        }
        for name in chosen
    ]


def _example_title(name: str) -> str:
    """Split and patch; of runs of before, names have slashes."""
    return re.sub(r"^examples[./](\w+)[./]", r"\1/", name)


def _embedded(path: Path, side: int | None = None) -> str:
    """A picture as a data URI, encoded anew: a tenth of a PNG's size, nothing but pixels, and no side beyond `side`."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as image:
        picture = image.convert("RGB")
        if side is not None:
            picture.thumbnail((side, side))
        picture.save(buffer, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _curve(run: "Run", name: str, text: str) -> dict[str, Any] | None:
    """A metric's history as the points of a polyline, in a plane of `_WIDTH` x `_HEIGHT`; None without two values."""
    if name not in run.data.metrics:
        return None
    history = connect().MlflowClient().get_metric_history(run.info.run_id, name)
    points = sorted((item.step, item.value) for item in history if math.isfinite(item.value))
    if len({step for step, _ in points}) < 2:
        return None
    count = min(len(points), _POINTS)
    points = [points[index * (len(points) - 1) // (count - 1)] for index in range(count)]  # both ends are among them
    return {"title": text, **_plane(points)}


def _plane(points: Sequence[tuple[int, float]]) -> Mapping[str, Any]:
    steps, values = zip(*points, strict=True)
    left, right, low, high = steps[0], steps[-1], min(0.0, *values), max(values)
    high = high if high > low else low + 1
    line = " ".join(
        f"{(step - left) / (right - left) * _WIDTH:.1f},{_HEIGHT - (value - low) / (high - low) * _HEIGHT:.1f}"
        for step, value in points
    )
    ends = {"low": low, "high": high, "first": left, "last": right, "value": values[-1]}
    return {"points": line, **ends, "width": _WIDTH, "height": _HEIGHT}
