"""How busy the machine is while a run is at work: processor, memory, disk, network and GPU, as MLflow measures them."""

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_mm.active_run import ActiveRun

logger = logging.getLogger(__name__)

_EVERY = 10.0  # s, as MLflow has it


class Machine:
    """Logs metrics `system/...` from its start to its end."""

    def __init__(self, run: "ActiveRun") -> None:
        from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL

        self._run, self._ended = run, threading.Event()
        self._every = float(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _EVERY)
        self._thread = threading.Thread(target=self._measure, name="system metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Measure no more."""
        self._ended.set()
        self._thread.join()

    def _measure(self) -> None:
        step = 0
        try:
            monitors = _monitors()
            while not self._ended.wait(self._every):
                values: dict[str, float] = {}
                for monitor in monitors:
                    monitor.collect_metrics()
                    values |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                self._run.metrics({f"system/{key}": value for key, value in values.items()}, step)
                step += 1
        except Exception as error:  # of many drivers
            logger.warning("system metrics end here: %s", " ".join(str(error).split()))


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(Exception):  # no GPU, or no library that asks it
        found.append(GPUMonitor())
    return found
