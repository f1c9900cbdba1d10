"""Moving a store that was kept in a project, mlflow.db and mlartifacts, to the server of a team."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.tracking.copying import COPIED_FROM, all_runs, copy_content, counterpart, pages, replaced
from wsss_mm.tracking.promotion import OVER
from wsss_mm.tracking.registry import quoted
from wsss_mm.tracking.store import connect, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Migrated:
    """How many runs and model versions a store holds, all of which are in the other store now."""

    runs: int
    versions: int


def migrate_store(database: Path, target_uri: str | None = None) -> Migrated:
    """Copy every run and registered model of a local store to another store; nothing is taken from the local one.

    Run again, it copies what is new or was interrupted. An alias goes to the target only where the target has none of
    that name: a champion there stays champion.

    Args:
        database: An mlflow.db.
        target_uri: The other store, MLFLOW_TRACKING_URI if None.

    Raises:
        InputError: there is no such database, both stores are the same, or files of the store are missing.
    """
    mlflow = connect()
    if not database.is_file():
        raise InputError(f"{database}: not found; name the mlflow.db of the project to migrate")
    source_uri = sqlite_uri(database.resolve())
    target_uri = target_uri or mlflow.get_tracking_uri()
    if target_uri == source_uri:
        raise InputError(f"{database} is the store in use; set MLFLOW_TRACKING_URI to the server it shall go to")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(target_uri)  # a local target looks models up there, whatever client is asked
    try:
        return _migrate(mlflow.MlflowClient(source_uri, source_uri), mlflow.MlflowClient(target_uri, target_uri))
    finally:
        mlflow.set_tracking_uri(before)


def _migrate(source: "MlflowClient", target: "MlflowClient") -> Migrated:
    runs = all_runs(source)
    ids = {run.info.run_id: counterpart(run, source, target) for run in runs}
    models: dict[str, str] = {}
    for run in tqdm(runs, desc="runs", unit="run"):
        models |= copy_content(run, source, target, ids)
    versions = 0
    for model in pages(lambda token: source.search_registered_models(page_token=token)):
        versions += _copy_registered(model, source, target, ids, models)
    return Migrated(len(runs), versions)


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
        description=replaced(version.description or "", {**runs, **models}),
        model_id=model_id,
    )
    return str(made.version)
