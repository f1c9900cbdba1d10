"""Copy a project's own MLflow store, mlflow.db and mlartifacts, to the server of a team, with all that it holds.

    python deploy/migrate_store.py mlflow.db --to https://mlflow.lab.example

Run it in the project, with its packages. Only ids are new. Whatever was copied carries the tag `copied.from`, its id in
the store it came from, so that the same copy can be asked for again: what is there already is kept, and what was
interrupted is completed.
"""

import argparse
import logging
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from tqdm import tqdm

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.outage import is_outage, needed
from wsss_mm.tracking.batches import add_missing, log_values
from wsss_mm.tracking.promotion import OVER
from wsss_mm.tracking.registry import quoted
from wsss_mm.tracking.store import check_store_kind, connect, experiment_in, sqlite_uri
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

logger = logging.getLogger(__name__)

COPIED_FROM = "copied.from"
"""Tag: the id in the store it came from."""

_PAGE = 1000
_WHOLE = "copied.whole"  # tag prefix, followed by the old id, once everything is there
_TEXTS = (f"{places.EVIDENCE}/{places.LINEAGE}",)  # artifacts that name runs


@dataclass(frozen=True)
class Migrated:
    """How many runs and model versions a store holds, all of which are in the other store now."""

    runs: int
    versions: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Copy the runs and registered models of an mlflow.db, with all they hold, to the server that "
        "MLFLOW_TRACKING_URI names. The local store stays as it is; run again, it copies what is new or was "
        "interrupted. An alias that the server has already, such as champion, stays where it is there.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("database", nargs="?", type=Path, default=Path("mlflow.db"), help="the store to copy")
    parser.add_argument("--to", metavar="URI", help="another target than MLFLOW_TRACKING_URI")
    given = parser.parse_args(arguments)
    try:
        done = migrate_store(given.database, given.to)
    except Exception as error:
        if not (isinstance(error, InputError | OSError) or is_outage(error)):
            raise
        told = needed(error) if is_outage(error) else shown(str(error))
        sys.stderr.write(f"migrate_store.py: error: {told}\n")
        return 2
    sys.stdout.write(f"{given.database}: {done.runs} runs and {done.versions} model versions are on the server\n")
    return 0


def migrate_store(database: Path, target_uri: str | None = None) -> Migrated:
    """Copy every run and registered model of a local store to another store; nothing is taken from the local one.

    Run again, it copies what is new or was interrupted. An alias goes to the target only where the target has none of
    that name: a champion there stays champion.

    Args:
        database: An mlflow.db.
        target_uri: The other store, MLFLOW_TRACKING_URI if None.

    Raises:
        InputError: there is no such database, it is damaged, both stores are the same, or files of it are missing.
    """
    mlflow = connect()
    if not database.is_file():
        raise InputError(f"{database}: not found; name the mlflow.db of the project to migrate")
    source_uri = sqlite_uri(database.resolve())
    target_uri = target_uri or mlflow.get_tracking_uri()
    if target_uri == source_uri:
        raise InputError(f"{database} is the store in use; set MLFLOW_TRACKING_URI to the server it shall go to")
    _check_readable(database)
    check_store_kind(target_uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(target_uri)  # a local target looks models up there, whatever client is asked
    try:
        return _migrate(mlflow.MlflowClient(source_uri, source_uri), mlflow.MlflowClient(target_uri, target_uri))
    finally:
        mlflow.set_tracking_uri(before)


def _check_readable(database: Path) -> None:
    """See that it is a whole store, before anything is copied: MLflow's errors do not say which of two is damaged."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source:
            (found,) = source.execute("PRAGMA quick_check(1)").fetchone()
            source.execute("SELECT 1 FROM runs LIMIT 1")
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise InputError(f"{database}: no store of MLflow, or a damaged one ({found}); put a copy of it there")


def _all_runs(client: "MlflowClient") -> list["Run"]:
    """Every run of a store that is not deleted, oldest first."""
    experiments = _pages(lambda token: client.search_experiments(page_token=token))
    ids = [item.experiment_id for item in experiments]
    runs = _pages(lambda token: client.search_runs(ids, max_results=_PAGE, page_token=token)) if ids else []
    return sorted(runs, key=lambda run: run.info.start_time)


def _pages(search: Any) -> list[Any]:
    """All items of a search that comes in pages."""
    items: list[Any] = []
    token = None
    while True:
        page: Iterable[Any] = search(token)
        items += page
        token = getattr(page, "token", None)
        if not token:
            return items


def _migrate(source: "MlflowClient", target: "MlflowClient") -> Migrated:
    runs = _all_runs(source)
    ids = {run.info.run_id: _counterpart(run, source, target) for run in runs}
    models: dict[str, str] = {}
    for run in tqdm(runs, desc="runs", unit="run"):
        models |= _copy_content(run, source, target, ids)
    versions = 0
    for model in _pages(lambda token: source.search_registered_models(page_token=token)):
        versions += _copy_registered(model, source, target, ids, models)
    return Migrated(len(runs), versions)


def _counterpart(run: "Run", source: "MlflowClient", target: "MlflowClient") -> str:
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


def _copy_content(run: "Run", source: "MlflowClient", target: "MlflowClient", ids: Mapping[str, str]) -> dict[str, str]:
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
    add_missing(target, copied, run.inputs.dataset_inputs if run.inputs else ())
    linked = {item.model_id for item in (copied.outputs.model_outputs if copied.outputs else ())}
    outputs = [
        item for item in (run.outputs.model_outputs if run.outputs else ()) if models[item.model_id] not in linked
    ]
    if outputs:
        from mlflow.entities import LoggedModelOutput

        target.log_outputs(new, [LoggedModelOutput(models[item.model_id], item.step) for item in outputs])
    folder = _local_folder(str(run.info.artifact_uri))
    if folder.is_dir():
        target.log_artifacts(new, str(folder))
        for name in _TEXTS:
            if (folder / name).is_file():
                target.log_text(new, _replaced((folder / name).read_text(encoding="utf-8"), ids), name)
    elif not folder.parents[2].is_dir():  # mlartifacts; a run without artifacts has no folder there
        raise InputError(
            f"{folder.parents[2]}: not found, and run {run.info.run_id} has its files there; put them back"
        )
    if run.info.status != "RUNNING":
        target.set_terminated(new, run.info.status, run.info.end_time)
    target.set_tag(new, done, "true")
    return models


def _replaced(text: str, ids: Mapping[str, str]) -> str:
    """The text with new ids in place of old ones."""
    for old, new in ids.items():
        text = text.replace(old, new)
    return text


def _local_folder(uri: str) -> Path:
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
    tags = [RunTag(key, _replaced(value, renamed)) for key, value in run.data.tags.items()]
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
    tags = {key: _replaced(value, ids) for key, value in model.tags.items() if key != MLFLOW_USER}
    new = found or target.create_logged_model(
        experiment_id, model.name, run.info.run_id, tags | {COPIED_FROM: model.model_id}, model.params, model.model_type
    )
    folder = _local_folder(model.artifact_location)
    if not (folder / "MLmodel").is_file():
        raise InputError(f"{folder}: not found, and model {model.model_id} has its files there; put them back")
    target.log_model_artifacts(new.model_id, str(folder))
    card = _replaced((folder / "MLmodel").read_text(encoding="utf-8"), {**ids, model.model_id: new.model_id})
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "MLmodel").write_text(card.replace(model.artifact_location, new.artifact_location), "utf-8")
        target.log_model_artifacts(new.model_id, name)
    target.finalize_logged_model(new.model_id, LoggedModelStatus.READY)
    return new.model_id


def _copy_registered(
    model: "RegisteredModel",
    source: "MlflowClient",
    target: "MlflowClient",
    runs: Mapping[str, str],
    models: Mapping[str, str],
) -> int:
    """Copy a registered model's versions, oldest first, and its aliases; returns how many versions it has."""
    from mlflow.exceptions import MlflowException

    try:
        there = target.get_registered_model(model.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        there = target.create_registered_model(model.name, dict(model.tags), model.description)
    where = f"name = '{quoted(model.name)}'"
    versions = sorted(source.search_model_versions(where), key=lambda version: int(version.version))
    copies = {item.tags.get(COPIED_FROM): str(item.version) for item in target.search_model_versions(where)}
    numbers: dict[str, str] = {}
    for version in versions:
        origin = f"{version.run_id}/{version.version}"
        number = str(version.version)
        numbers[number] = copies.get(origin) or _copy_version(version, origin, target, runs, models)
        over = " ".join(numbers[old] for old in version.tags.get(OVER, "").split() if old in numbers)
        if over:
            target.set_model_version_tag(model.name, numbers[number], OVER, over)
    for alias, version in model.aliases.items():
        if alias not in there.aliases:
            target.set_registered_model_alias(model.name, alias, numbers[str(version)])
        elif str(there.aliases[alias]) != numbers[str(version)]:
            logger.warning("%s: %s there is version %s and stays so", model.name, alias, there.aliases[alias])
    return len(versions)


def _copy_version(
    version: "ModelVersion", origin: str, target: "MlflowClient", runs: Mapping[str, str], models: Mapping[str, str]
) -> str:
    """Make a copied model, or a folder among a copied run's artifacts, a version; returns its number."""
    if version.run_id is None or version.run_id not in runs:
        raise InputError(f"{version.name} version {version.version}: its run was deleted; mlflow gc, or restore it")
    run_id, source = runs[version.run_id], version.source or ""
    model_id = next((new for old, new in models.items() if old in source), None)
    _, inside, below = source.partition(f"/{version.run_id}/artifacts")
    if model_id is None and not inside:
        raise InputError(f"{version.name} version {version.version}: its files are in {version.source}, of no run here")
    uri = f"models:/{model_id}" if model_id else f"{target.get_run(run_id).info.artifact_uri}{below}"
    made = target.create_model_version(
        version.name,
        uri,
        run_id,
        tags={key: value for key, value in version.tags.items() if key != OVER} | {COPIED_FROM: origin},
        description=_replaced(version.description or "", {**runs, **models}),
        model_id=model_id,
    )
    return str(made.version)


if __name__ == "__main__":
    sys.exit(main())
