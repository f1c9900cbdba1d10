"""Registered models: versions with aliases `challenger` (the newest) and `champion` (the one in use)."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest, leads_outside
from wsss_mm.outage import is_outage
from wsss_mm.tracking.changes import CHANGES_TAG, changes_digest, run_of
from wsss_mm.tracking.finding import DIGEST_TAG, WEIGHTS_TAG, find_run
from wsss_mm.tracking.runs import tag_weights, training_run
from wsss_mm.tracking.store import connect

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

logger = logging.getLogger(__name__)

CHALLENGER, CHAMPION = "challenger", "champion"

_PACKAGE = Path(__file__).resolve().parents[1]
_EXAMPLE_SIZE = 64  # px; an example is stored as JSON
# What the model needs to run; MLflow's own inference would import everything and ask the package index.
_REQUIREMENTS = (
    "torch",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmsegmentation",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pillow",
    "pydantic",
    "pyyaml",
    "tqdm",
)


@dataclass(frozen=True)
class Registration:
    """A registered model's version and its run; `created` is False if this very model was registered before."""

    name: str
    version: str
    run_id: str
    weights_md5: str
    created: bool
    digest: str


def register_segmenter(
    folder: Path, name: str, *, tags: Mapping[str, str] | None = None, champion: bool = True
) -> Registration:
    """Make a segmenter a version of a registered model; the same weights and description make no second one.

    The version gets the alias `challenger`, and keeps the digest of what it was made from as a tag.

    Args:
        folder: models/segmenter.
        name: The registered model's name.
        tags: Outcomes to show beside the version (test mIoU, gates); updated if the version exists.
        champion: Whether it becomes the champion, too, if nothing is yet.

    Raises:
        InputError: there is no model, or it was changed since it was made.
    """
    from wsss_mm.models.description import folder_digest

    client = connect().MlflowClient()
    weights, model = folder / places.WEIGHTS, folder_digest(folder)
    md5 = digest(weights, "md5")
    tags = {key: str(value) for key, value in (tags or {}).items()}
    existing = _find_model(name, md5, model)
    version = existing or _new_version(folder, name, tags | {WEIGHTS_TAG: md5})
    kept = {DIGEST_TAG: model, CHANGES_TAG: changes_digest(run_of(version))}
    for key, value in (tags | {key: value for key, value in kept.items() if key not in version.tags}).items():
        if version.tags.get(key) != value:  # a new version has most; to set one is a request
            client.set_model_version_tag(name, version.version, key, value)
    client.set_registered_model_alias(name, CHALLENGER, version.version)
    if champion and CHAMPION not in client.get_registered_model(name).aliases:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    return Registration(name, str(version.version), run_of(version), md5, existing is None, model)


def registered_as(folder: Path, name: str) -> "ModelVersion | None":
    """The version that a segmenter was registered as before, or else the newest of these weights."""
    from wsss_mm.models.description import folder_digest

    md5 = digest(folder / places.WEIGHTS, "md5")
    return _find_model(name, md5, folder_digest(folder)) or _find(name, md5)


def log_segmenter_model(folder: Path, run_id: str, model_name: str = "segmenter") -> "ModelInfo":
    """Log a model folder to a run as an MLflow model, with signature, example, code and requirements.

    Args:
        folder: weights.pth, model.json and what lies beside them.
        run_id: The run, which may have ended.
        model_name: What the run calls the model.
    """
    import numpy as np

    from wsss_mm.models.description import folder_digest

    mlflow = connect()
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name=None)
    labels = TensorSpec(np.dtype(np.uint8), (-1, -1, -1), name=None)
    signature = ModelSignature(
        Schema([images]), Schema([labels]), ParamSchema([ParamSpec("output", "string", default="labels")])
    )
    mlflow.set_experiment(experiment_id=mlflow.get_run(run_id).info.experiment_id)  # where MLflow keeps the model
    example = np.random.default_rng(0).integers(120, 240, (1, _EXAMPLE_SIZE, _EXAMPLE_SIZE, 3), dtype=np.uint8)
    return Model.log(
        None,
        mlflow.pyfunc,
        run_id=run_id,
        name=model_name,
        flavor_name="pyfunc.ModelFromCode",
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"segmenter": str(folder)},
        code_paths=[str(_PACKAGE)],
        metadata={"digest": folder_digest(folder)},  # as a model_config it would be a parameter of the training
        signature=signature,
        input_example=(example, {"output": "labels"}),
        pip_requirements=[f"{name}=={_public(installed_version(name))}" for name in _REQUIREMENTS],
    )


def _public(version: str) -> str:
    """The version without its build: torch 2.13.0+cpu is 2.13.0, so that each machine takes its own."""
    return version.partition("+")[0]


def list_versions(name: str) -> "pd.DataFrame":
    """Versions of a registered model, newest first: version, aliases, created (UTC) and its tags as columns.

    Raises:
        InputError: there is no such model.
    """
    import pandas as pd

    client = connect().MlflowClient()
    versions = client.search_model_versions(f"name = '{quoted(name)}'")
    if not versions:
        raise InputError(f"no registered model {name!r}; make one: dvc repro -s -f register")
    aliases: dict[str, list[str]] = {}
    for alias, version in client.get_registered_model(name).aliases.items():
        aliases.setdefault(str(version), []).append(alias)
    rows = [
        {
            "version": int(version.version),
            "aliases": " ".join(sorted(aliases.get(str(version.version), []))),
            "created": pd.Timestamp(version.creation_timestamp, unit="ms").strftime("%Y-%m-%d %H:%M"),
            **dict(sorted(version.tags.items())),
        }
        for version in versions
    ]
    return pd.DataFrame(rows).sort_values("version", ascending=False, ignore_index=True).fillna("")


def find_version(name: str, version: str) -> "ModelVersion":
    """A version by number or alias.

    Raises:
        InputError: there is none.
    """
    mlflow = connect()
    client = mlflow.MlflowClient()
    try:
        if version.isdecimal():
            return client.get_model_version(name, version)
        return client.get_model_version_by_alias(name, version)
    except mlflow.exceptions.MlflowException as error:
        if is_outage(error):
            raise
        raise InputError(f"{name}: no version or alias {version!r}; see: wsss-mm models list --name {name}") from None


def parse_uri(uri: str) -> tuple[str, str]:
    """Name and version or alias of "models:/NAME/VERSION" or "models:/NAME@ALIAS".

    Raises:
        InputError: it is something else.
    """
    name, _, version = uri.removeprefix("models:/").replace("@", "/", 1).partition("/")
    if not uri.startswith("models:/") or not name or not version or "/" in version:
        raise InputError(f"{uri!r}: names no model; write models:/NAME/3 or models:/NAME@champion")
    return name, version


def resolve_uri(uri: str) -> dict[str, str]:
    """`name` and `version` of the model behind "models:/NAME/VERSION" or "models:/NAME@ALIAS", and the `alias` if any.

    Raises:
        InputError: there is no such model.
    """
    name, version = parse_uri(uri)
    found = {"name": name, "version": str(find_version(name, version).version)}
    return found if version.isdecimal() else found | {"alias": version}


def registered_digest(uri: str) -> str | None:
    """The digest that a version was registered with; None of older ones, which have none."""
    return find_version(*parse_uri(uri)).tags.get(DIGEST_TAG)


def version_of_weights(name: str, md5: str) -> "ModelVersion":
    """The newest version with these weights.

    Raises:
        InputError: there is none.
    """
    found = _find(name, md5)
    if found is None:
        raise InputError(f"{name}: no version has weights {md5}; see: wsss-mm models list --name {name}")
    return found


def download_model(uri: str, target: Path | None = None) -> Path:
    """Fetch a registered model's folder; unlike with `mlflow.pyfunc.load_model`, nothing that comes with it is run.

    Args:
        uri: For example "models:/segmenter@champion" or "models:/segmenter/3".
        target: Folder to download into; where the store puts it, or has it, if None.

    Returns:
        A local folder for `wsss_mm.models.load_model`.

    Raises:
        InputError: there is no such model, it holds no segmenter, or it is not the one that was registered.
    """
    mlflow = connect()
    version = find_version(*parse_uri(uri))
    pinned = f"models:/{version.name}/{version.version}"  # an alias may move meanwhile
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=pinned, dst_path=target and str(target)))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        if is_outage(error):
            raise
        said = " ".join(str(error).split())
        raise InputError(f"{uri}: {said}; see: wsss-mm models list --name {version.name}") from None
    found = sorted(folder.glob(f"artifacts/*/{places.DESCRIPTION}"))
    if len(found) != 1:
        raise InputError(f"{uri}: holds {len(found) or 'no'} segmenter{'s' * bool(found)}; see: wsss-mm models list")
    _check_model(uri, version, found[0].parent, folder)
    return found[0].parent


def check_stored(version: "ModelVersion") -> dict[str, Any]:
    """Look whether a version still is what was registered; older versions, which kept no digest, are passed over.

    Returns:
        Content of its model.json; empty if it was passed over.

    Raises:
        InputError: it is not, or its files are gone.
    """
    if DIGEST_TAG not in version.tags:
        logger.warning(
            "%s version %s: registered without a digest by an older version, so its files are not checked; register "
            "it again: dvc repro -s -f register",
            *(version.name, version.version),
        )
        return {}
    from wsss_mm.models.description import described

    with tempfile.TemporaryDirectory() as folder:
        return described(download_model(f"models:/{version.name}/{version.version}", Path(folder)))


def _check_model(uri: str, version: "ModelVersion", folder: Path, stored: Path) -> None:
    """What a registered version is made of must be what was registered: storage rots, and others may write there."""
    from wsss_mm.models.description import DESCRIPTION, WEIGHTS, check_digest, described, has_digest

    remedy = "delete this version (wsss-mm models delete) and register again (dvc repro -s -f register), or restore it"
    for name in (DESCRIPTION, WEIGHTS):
        if leads_outside(folder / name, stored):  # also through a link of a folder
            raise InputError(f"{uri}: its {name}: a link that leads out of the model; {remedy}")
    registered, weights = version.tags.get(WEIGHTS_TAG), folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{uri}: its {WEIGHTS}: missing where it is stored; {remedy}")
    md5 = digest(weights, "md5")
    if registered and md5 != registered:
        raise InputError(
            f"{uri}: its {WEIGHTS}: damaged where it is stored, md5 {md5} instead of {registered}; {remedy}"
        )
    try:
        info = described(folder)
        found = check_digest(folder, info, warn=False, remedy=remedy)
    except InputError as error:
        raise InputError(f"{uri}: changed where it is stored: {error}") from None
    wanted = version.tags.get(DIGEST_TAG)
    if not wanted and has_digest(info):  # of a model without one, its load says so
        logger.warning("%s: registered without a digest, so nothing shows that it is the model it was then", uri)
    if wanted and found != wanted:
        raise InputError(
            f"{uri}: its {DESCRIPTION}: changed where it is stored, digest {found[:12]} instead of {wanted[:12]}; "
            f"{remedy}"
        )


def _find(name: str, md5: str) -> "ModelVersion | None":
    """The newest version of a model with these weights."""
    return max(_all_with(name, md5), key=lambda version: int(version.version), default=None)


def _find_model(name: str, md5: str, model: str) -> "ModelVersion | None":
    """The newest version with these weights and this description, also if an older version of wsss_mm made it."""
    for version in sorted(_all_with(name, md5), key=lambda version: int(version.version), reverse=True):
        if _stored_digest(version) == model:
            return version
    return None


def _stored_digest(version: "ModelVersion") -> str | None:
    """The digest a version keeps, else that of the files it has; None if they are not whole."""
    from wsss_mm.models.description import folder_digest

    if DIGEST_TAG in version.tags:
        return version.tags[DIGEST_TAG]
    try:
        with tempfile.TemporaryDirectory() as folder:
            return folder_digest(download_model(f"models:/{version.name}/{version.version}", Path(folder)))
    except InputError:
        return None


def _all_with(name: str, md5: str) -> "list[ModelVersion]":
    filters = f"name = '{quoted(name)}' and tags.{WEIGHTS_TAG} = '{md5}'"
    return list(connect().MlflowClient().search_model_versions(filters))


def _new_version(folder: Path, name: str, tags: dict[str, str]) -> "ModelVersion":
    found = find_run(folder / places.WEIGHTS)
    if found is None:
        note = {"note": "the run that made these weights is not in this store"}
        with training_run("segmenter", {}, tags=note) as run:
            tag_weights(folder / places.WEIGHTS)
            run_id = run.info.run_id
    else:
        run_id = found.info.run_id
    return connect().register_model(log_segmenter_model(folder, run_id).model_uri, name, tags=tags)


def quoted(name: str) -> str:
    """A name inside a quoted filter."""
    if "'" in name:
        raise InputError(f"{name!r} is no model name: it holds a quote")
    return name
