"""`wsss-mm doctor`: is this machine and checkout fit to run the line?"""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.uris import shown

_PACKAGES = (
    "torch",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmsegmentation",
    "mlflow",
    "dvc",
    "great-expectations",
    "openslide-python",
)
_FREE_GIB = 5


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation, the checkout, params.yaml and gates.yaml",
        description="Check the installation, the checkout, params.yaml and gates.yaml; exit code 1 when something is "
        "wrong.",
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="in a project that was copied, moved or renamed, let mlflow.db name the files here; it is kept beside as "
        "mlflow.db.before-fix-1",
    )
    parser.set_defaults(handler=_handle)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _packages() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)


def _openslide() -> str:
    import openslide

    return f"library {openslide.__library_version__}"


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return "none: training uses the CPU, narrow networks only"


def _lock() -> str:
    """dvc.lock is YAML, and no merge stopped half-way in it or in dvc.yaml."""
    from wsss_mm.dvc_files import LOCK, pipeline_stages
    from wsss_mm.yaml_places import merge_stopped

    for name in (places.PIPELINE, LOCK):
        path = Path(name)
        if not path.exists():
            continue
        if not path.is_file():
            raise InputError(f"{name}: not a file; move it away, and git checkout {name}")
        content = path.read_bytes()
        stopped = merge_stopped(name, content.decode("utf-8", errors="replace"))  # though it be YAML
        if stopped:
            raise stopped
        pipeline_stages(content, name)
    return "dvc.yaml and dvc.lock can be read" if Path(LOCK).is_file() else "nothing was run yet: no dvc.lock"


def _params() -> str:
    from wsss_mm.preflight import check
    from wsss_mm.settings import load_params

    params = load_params()
    check(params, Path())
    if not params.cohort.source.exists():
        raise InputError(f"cohort.source {params.cohort.source} does not exist; set it with `wsss-mm profile`")
    return f"cohort {params.cohort.name} from {params.cohort.source}"


def _encoders() -> str:
    """The encoders that params.yaml names: their licences, and whether the files are here that trainings begin with."""
    from wsss_mm.encoders import find_file, get_encoder
    from wsss_mm.settings import load_params

    params = load_params()
    said: dict[str, str] = {}
    for settings in (params.classifier, params.segmenter):
        encoder = get_encoder(settings.encoder)
        if not settings.begins_with():
            said.setdefault(encoder.name, f"{encoder.name}, which begins without a file")
            continue
        path = Path(places.PRETRAINED) / str(settings.weights)
        if path.name in (places.PUBLISHED, encoder.file):
            path = find_file(encoder)
        elif not path.exists():
            raise InputError(f"{path}: not found, the weights of encoder {encoder.name}; put the file there")
        said[encoder.name] = f"{encoder.name} with {path} ({encoder.terms})"
        if (note := encoder.mpp_note(params.patches.mpp)) is not None:
            said[encoder.name] += f"; patches.mpp {note}"
    return "; ".join(said.values())


def _checkout() -> str:
    from wsss_mm.tracking.lineage import git_state

    if not Path(places.PIPELINE).is_file():
        raise InputError("no dvc.yaml here; run from the project's root")
    git = git_state(Path.cwd())
    if git.problem:
        raise InputError(git.problem)
    return f"commit {git.short}"


def _disk() -> str:
    free = shutil.disk_usage(".").free / 2**30
    if free < _FREE_GIB:
        raise InputError(f"{free:.1f} GiB free; the default line needs about {_FREE_GIB}")
    return f"{free:.0f} GiB free"


def _remote() -> str:
    """Ask DVC's remote for a listing: to a question about one file, S3 answers without saying why."""
    from dvc.repo import Repo

    where = "the default remote"
    try:
        with Repo() as repo:
            odb = repo.cloud.get_remote_odb()
            where = odb.fs.unstrip_protocol(odb.path)
            try:
                odb.fs.ls(odb.path)
            except FileNotFoundError:
                return f"{where}: nothing pushed yet"
            return where
    except Exception as error:  # DVC, asyncssh, botocore, ...: each remote has its own
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{where}: {said}; see docs/sharing-data.md") from None


def _tracking() -> str:
    from wsss_mm.outage import is_outage, needed, server_uri
    from wsss_mm.tracking.moved import check_store, refuse_strange_roots
    from wsss_mm.tracking.store import connect, project_root, tracking_uri

    if not server_uri():
        database = project_root() / "mlflow.db"
        check_store(database)
        refuse_strange_roots(database, project_root())
        return tracking_uri()
    mlflow = connect()
    try:
        mlflow.search_experiments(max_results=1)
    except Exception as error:
        if not is_outage(error):
            raise
        raise InputError(needed(error)) from None
    return server_uri()


def _cluster() -> str:
    from wsss_mm.clusters import CLUSTER, check_cluster

    return check_cluster() or f"none: {CLUSTER} is not set, stages run on this machine"


def _fix() -> None:
    from wsss_mm.tracking.moved import settle
    from wsss_mm.tracking.store import project_root

    root = project_root()
    database = root / "mlflow.db"
    for old in settle(database, root):
        sys.stdout.write(f"mended  {database}: named files in {old}, and names those here now\n")


def _handle(arguments: argparse.Namespace) -> int:
    if arguments.fix:
        _fix()
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "openslide": _openslide,
        "accelerator": _accelerator,
        "checkout": _checkout,
        places.PARAMS_FILE: _params,
        "encoders": _encoders,
        "pipeline": _lock,
        "disk": _disk,
        "dvc remote": _remote,
        "mlflow": _tracking,
        "cluster": _cluster,
    }
    failed = 0
    for name, check in checks.items():
        try:
            status, finding = "ok", check()
        except (InputError, ImportError, OSError, metadata.PackageNotFoundError) as error:
            status, finding = "FAIL", str(error)
            failed += 1
        sys.stdout.write(f"{status:4}  {name:12} {shown(finding)}\n")
    return 1 if failed else 0
