"""Copying runs from a local MLflow store to another one: all that a run holds arrives, only ids are new.

Whatever was copied carries the tag `copied.from`, its id in the store it came from, so that the same copy can be asked
for again: what is there already is kept, and what was interrupted is completed.
"""

import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.tracking.store import adding, experiment_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run

logger = logging.getLogger(__name__)

COPIED_FROM = "copied.from"
"""Tag: the id in the store it came from."""

_WHOLE = "copied.whole"  # tag prefix, followed by the old id, once everything is there
_PER_CALL = {"metrics": 1000, "params": 100, "tags": 100}  # the server's limits
_TEXTS = (f"{places.EVIDENCE}/{places.LINEAGE}",)  # artifacts that name runs
_PAGE = 1000


def all_runs(client: "MlflowClient") -> list["Run"]:
    """Every run of a store that is not deleted, oldest first."""
    experiments = pages(lambda token: client.search_experiments(page_token=token))
    ids = [item.experiment_id for item in experiments]
    runs = pages(lambda token: client.search_runs(ids, max_results=_PAGE, page_token=token)) if ids else []
    return sorted(runs, key=lambda run: run.info.start_time)


def counterpart(run: "Run", source: "MlflowClient", target: "MlflowClient") -> str:
    """The id of a run's copy; begins one, in the experiment of the same name, if the target has none."""
    name = source.get_experiment(run.info.experiment_id).name
    experiment_id = experiment_in(target, name)
    found = target.search_runs([experiment_id], f"tags.`{COPIED_FROM}` = '{run.info.run_id}'", max_results=1)
    if found:
        return found[0].info.run_id
    tags = {COPIED_FROM: run.info.run_id}
    if user := run.data.tags.get("mlflow.user"):
        tags["mlflow.user"] = user
    return target.create_run(experiment_id, run.info.start_time, tags, run.info.run_name).info.run_id


def copy_content(run: "Run", source: "MlflowClient", target: "MlflowClient", ids: Mapping[str, str]) -> dict[str, str]:
    """Fill a run's copy: parameters, every point of every metric, tags, data sets, artifacts, models, status, times.

    Args:
        run: The run, in a store whose artifacts are files on this machine.
        source: Its store.
        target: Where it goes; may hold some or all of it already.
        ids: Old to new ids of runs, this one's among them. Old ids are replaced in tags and in what names runs.

    Returns:
        Old to new ids of the models this run logged.

    Raises:
        InputError: the run's artifacts are no longer where the store says.
    """
    new = ids[run.info.run_id]
    copied = target.get_run(new)
    models = {
        item.model_id: _copy_model(source.get_logged_model(item.model_id), copied, target, ids)
        for item in (run.outputs.model_outputs if run.outputs else ())
    }
    done = f"{_WHOLE}.{run.info.run_id}"
    if done in copied.data.tags:
        return models
    histories = [source.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
    _log_numbers(run, new, list(chain.from_iterable(histories)), target, {**ids, **models})
    log_missing_inputs(run, copied, target)
    linked = {item.model_id for item in (copied.outputs.model_outputs if copied.outputs else ())}
    outputs = [
        item for item in (run.outputs.model_outputs if run.outputs else ()) if models[item.model_id] not in linked
    ]
    if outputs:
        from mlflow.entities import LoggedModelOutput

        target.log_outputs(new, [LoggedModelOutput(models[item.model_id], item.step) for item in outputs])
    folder = local_folder(str(run.info.artifact_uri))
    if folder.is_dir():
        target.log_artifacts(new, str(folder))
        for name in _TEXTS:
            if (folder / name).is_file():
                target.log_text(new, replaced((folder / name).read_text(encoding="utf-8"), ids), name)
    elif not folder.parents[2].is_dir():  # mlartifacts; a run without artifacts has no folder there
        raise InputError(
            f"{folder.parents[2]}: not found, and run {run.info.run_id} has its files there; put them back"
        )
    if run.info.status != "RUNNING":
        target.set_terminated(new, run.info.status, run.info.end_time)
    target.set_tag(new, done, "true")
    return models


def log_values(client: "MlflowClient", run_id: str, **values: Sequence[Any]) -> None:
    """Log any number of `params`, `metrics` and `tags`, in as many calls as the server's limits ask for."""
    for kind, items in values.items():
        for start in range(0, len(items), _PER_CALL[kind]):
            part: dict[str, Any] = {kind: items[start : start + _PER_CALL[kind]]}
            client.log_batch(run_id, **part)


def log_missing_inputs(run: "Run", there: "Run", client: "MlflowClient") -> None:
    """Give a run the data sets of another one that it lacks."""
    there_already = there.inputs.dataset_inputs if there.inputs else ()
    known = {(item.dataset.name, item.dataset.digest) for item in there_already}
    wanted = run.inputs.dataset_inputs if run.inputs else ()
    inputs = [item for item in wanted if (item.dataset.name, item.dataset.digest) not in known]
    if inputs:
        adding(client.log_inputs, there.info.run_id, inputs)


def replaced(text: str, ids: Mapping[str, str]) -> str:
    """The text with new ids in place of old ones."""
    for old, new in ids.items():
        text = text.replace(old, new)
    return text


def local_folder(uri: str) -> Path:
    """The folder behind an artifact location.

    Raises:
        InputError: it is not on this machine.
    """
    parts = urlparse(uri)
    if parts.scheme not in ("", "file"):
        raise InputError(f"{uri}: only stores whose artifacts are files on this machine can be copied")
    return Path(unquote(parts.path))


def _log_numbers(
    run: "Run", new: str, points: "Sequence[Metric]", target: "MlflowClient", renamed: Mapping[str, str]
) -> None:
    """Parameters, metrics with their steps and times, and tags; the store takes the same point twice as one."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [
        Metric(item.key, item.value, item.timestamp, item.step, model_id=renamed.get(item.model_id or ""))
        for item in points
    ]
    params = [Param(key, value) for key, value in run.data.params.items()]
    tags = [RunTag(key, replaced(value, renamed)) for key, value in run.data.tags.items()]
    log_values(target, new, params=params, metrics=metrics, tags=tags)


def _copy_model(model: "LoggedModel", run: "Run", target: "MlflowClient", ids: Mapping[str, str]) -> str:
    """Copy a model with its files, unless it is there; its id and that of its run are new in MLmodel too."""
    from mlflow.entities import LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_USER

    experiment_id, found = run.info.experiment_id, None
    for item in target.search_logged_models([experiment_id], f"tags.`{COPIED_FROM}` = '{model.model_id}'"):
        found = item
    if found and found.status == LoggedModelStatus.READY:
        return found.model_id
    tags = {key: replaced(value, ids) for key, value in model.tags.items() if key != MLFLOW_USER}
    new = found or target.create_logged_model(
        experiment_id, model.name, run.info.run_id, tags | {COPIED_FROM: model.model_id}, model.params, model.model_type
    )
    folder = local_folder(model.artifact_location)
    if not (folder / "MLmodel").is_file():
        raise InputError(f"{folder}: not found, and model {model.model_id} has its files there; put them back")
    target.log_model_artifacts(new.model_id, str(folder))
    card = replaced((folder / "MLmodel").read_text(encoding="utf-8"), {**ids, model.model_id: new.model_id})
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "MLmodel").write_text(card.replace(model.artifact_location, new.artifact_location), "utf-8")
        target.log_model_artifacts(new.model_id, name)
    target.finalize_logged_model(new.model_id, LoggedModelStatus.READY)
    return new.model_id


def pages(search: Any) -> list[Any]:
    """All items of a search that comes in pages."""
    items: list[Any] = []
    token = None
    while True:
        page: Iterable[Any] = search(token)
        items += page
        token = getattr(page, "token", None)
        if not token:
            return items
