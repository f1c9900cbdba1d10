"""Two nodes of a Ray cluster on this machine, one of which tests kill; and what answers as a cluster does, for less."""

import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from wsss_mm.cam.store import write_label
from wsss_mm.clusters import CLUSTER
from wsss_mm.inference.runtime import DEVICE
from wsss_mm.patches.images import store_patch
from wsss_mm.wsi.export import export_slide
from wsss_mm.wsi.mapping import map_slide

NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20, "include_dashboard": False}


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each, of which the first keeps the books; on loopback."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))  # nodes import functions of tests
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(services, "get_node_ip_address", lambda *_: "127.0.0.1")  # or the driver looks elsewhere
    # A node is given up when five requests failed, five times a second: at once where it is dead, and where it is
    # busy it answers within the 10 s of one. Ray's own pause is 3 s, after 5 s.
    often = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200}
    head = {**NODE, "num_cpus": 1, "_system_config": often}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    cluster.add_node(**NODE, num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def kill_in_the_middle(nodes, task):
    """End a node as a power cut would, while it works on a task of this name; whether there was one."""
    for _ in range(2000):
        for node in nodes:
            (raylet,) = node.all_processes["raylet"]
            family = psutil.Process(raylet.process.pid)
            processes = family.children(recursive=True)
            if any(f"ray::{task}" in " ".join(process.cmdline()) for process in processes if process.is_running()):
                for process in [family, *processes]:
                    process.kill()
                return True
        time.sleep(0.02)
    return False


@contextmanager
def killed_in_the_middle(cluster, task):
    """In the block the second node, a new one if need be, dies while it works on a task of this name, or this fails."""
    if not cluster.worker_nodes:
        cluster.add_node(**NODE, num_cpus=1)
    killed, nodes = [], list(cluster.worker_nodes)
    killing = threading.Thread(target=lambda: killed.append(kill_in_the_middle(nodes, task)))
    killing.start()
    try:
        yield
    finally:
        killing.join()
    assert killed == [True]
    for node in nodes:
        cluster.remove_node(node, allow_graceful=False)


def map_slowly(*what, **how):
    """As `map_slide`, so slow that there is a middle; here, where nodes can import it, as are those that follow."""
    time.sleep(1.5)
    return map_slide(*what, **how)


def export_slowly(*what, **how):
    """As `export_slide`."""
    time.sleep(1.5)
    return export_slide(*what, **how)


def store_slowly(*where, **what):
    """As `store_patch`."""
    time.sleep(0.15)
    return store_patch(*where, **what)


def write_slowly(*what, **where):
    """As `write_label`."""
    time.sleep(0.15)
    return write_label(*what, **where)


class _RayError(Exception):
    pass


class _RayTaskError(_RayError):
    def __init__(self, cause):
        super().__init__("a traceback")
        self.cause = cause


class Ray:
    """Answers as Ray does, in this process; of the tasks that it holds the last begun is the first to end."""

    __version__ = "2.60.0"
    exceptions = SimpleNamespace(RayError=_RayError, RayTaskError=_RayTaskError)
    util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")

    def __init__(self):
        self.held, self.most, self.options, self.connections = [], 0, [], 0
        self.dies = lambda _: False  # whether the nodes that work on an item die, one after the other
        self.cores = [1, 1]
        self.travel = lambda value: value  # what becomes of a value on its way

    def init(self, **_):
        self.connections += 1
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as Ray does

    def shutdown(self):
        self.connections = 0

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": float(count)}} for count in self.cores] + [{"Alive": False}]

    def put(self, value):
        return Reference(self.travel(value))

    def remote(self, function):
        def begin(*arguments):
            self.held.append(task := Reference((function, arguments)))
            self.most = max(self.most, len(self.held))
            return task

        def options(**given):
            self.options.append(given)
            return SimpleNamespace(remote=begin)

        return SimpleNamespace(options=options)

    def wait(self, tasks, num_returns):
        assert num_returns == 1
        assert set(tasks) == set(self.held)
        return [self.held.pop()], self.held

    def get(self, reference):
        if not isinstance(reference.value, tuple):
            return reference.value
        function, arguments = reference.value
        if self.dies(arguments[1]):
            raise _RayError("The node died.\nAnd more.")
        try:
            functions, item, folder = arguments
            return self.travel(function(functions, self.travel(item), folder))
        except Exception as error:
            raise _RayTaskError(error) from error


class Reference:
    def __init__(self, value):
        self.value = value


@pytest.fixture
def ray(monkeypatch, tmp_path):
    fake = Ray()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setenv(CLUSTER, "auto")
    monkeypatch.setenv(DEVICE, "cpu")  # which nodes set in their process, and this is theirs
    monkeypatch.chdir(tmp_path)
    return fake
