"""Whether a store gives back what was sent to it."""

import math
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.tracking.local import LocalRun
from wsss_mm.tracking.store import tracking_uri, without_bars
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_LONG = 500  # characters that each store keeps


def confirm(client: "MlflowClient", run_id: str, run: LocalRun, sent: Collection[Path]) -> None:
    """Ask the store for all of a run.

    Args:
        client: Of the store.
        run_id: There.
        run: The same as it is here.
        sent: Its artifacts, of its files here.

    Raises:
        InputError: something is not there.
    """
    there = client.get_run(run_id)
    missing = [key for key, value in run.folded("params").items() if not _is(value, there.data.params.get(key))]
    missing += [key for key, value in run.folded("tags").items() if not _is(value, there.data.tags.get(key))]
    wanted: dict[str, set[tuple[int, str]]] = {}
    for item in points_of(run.entries):
        wanted.setdefault(item.key, set()).add(_point(item))
    for key, points in wanted.items():
        missing += [key] if points - set(map(_point, client.get_metric_history(run_id, key))) else []
    missing += [path.name for path in _missing_files(client, run_id, run, sent)]
    if missing:
        raise InputError(
            f"{shown(tracking_uri())}: run {run_id} lacks {', '.join(missing[:5])}, though they were sent; "
            "nothing local is removed: look at the server's log, then: wsss-mm sync"
        )


def _missing_files(client: "MlflowClient", run_id: str, run: LocalRun, sent: Collection[Path]) -> Iterator[Path]:
    """Artifacts that the store lacks, or has with other bytes."""
    if not sent:
        return
    sizes = {info.path: info.file_size for info in _listed(client, run_id)}
    with tempfile.TemporaryDirectory() as scratch, without_bars():
        for path in sorted(sent):
            name = path.relative_to(run.files).as_posix()
            if sizes.get(name) != path.stat().st_size:
                yield path
                continue
            back = Path(client.download_artifacts(run_id, name, scratch))
            if digest(back) != digest(path):
                yield path
            back.unlink()


def _is(value: str, there: str | None) -> bool:
    """Whether a store has this value; it may cut off the end of a long one."""
    return there is not None and (there == value or (len(there) >= _LONG and value.startswith(there)))


def points_of(entries: list[dict[str, Any]]) -> list["Metric"]:
    """Points of all metrics, as MLflow has them."""
    from mlflow.entities import Metric

    return [
        Metric(key, value, entry["time"], entry["step"])
        for entry in entries
        for key, value in entry.get("metrics", {}).items()
    ]


def _point(metric: "Metric") -> tuple[int, str]:
    """A step and its value as text, by which NaN equals itself; a store keeps the largest number for infinity."""
    value = float(metric.value)
    return metric.step, repr(math.copysign(sys.float_info.max, value) if math.isinf(value) else value)


def _listed(client: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[Any]:
    for info in client.list_artifacts(run_id, folder):
        if info.is_dir:
            yield from _listed(client, run_id, info.path)
        else:
            yield info
