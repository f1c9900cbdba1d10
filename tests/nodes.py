"""Two nodes of a Ray cluster on this machine, one of which tests kill."""

import time

import psutil
import pytest

from wsss_mm.patches.images import store_patch


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one core each, of which the first keeps the books; on loopback."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}.items():
        monkeypatch.setenv(name, value)
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(services, "get_node_ip_address", lambda *_: "127.0.0.1")  # or the driver looks elsewhere
    node = {"node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20, "include_dashboard": False}
    # A node is given up when five requests failed, five times a second: at once where it is dead, and where it is
    # busy it answers within the 10 s of one. Ray's own pause is 3 s, after 5 s.
    often = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200}
    head = {**node, "num_cpus": 1, "_system_config": often}
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    cluster.add_node(**node, num_cpus=1)
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


def store_slowly(*where, **what):
    """As `store_patch`, so slow that there is a middle; here, where nodes can import it."""
    time.sleep(0.15)
    return store_patch(*where, **what)
