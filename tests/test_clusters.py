"""What a cluster is asked for, and what becomes of its answers; tests of rooms that use it start one of two nodes."""

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.nodes import ray
from tests.settings import content_of, write_settings
from wsss_mm import clusters
from wsss_mm.clusters import CLUSTER, DiedError, check_cluster, map_on_cluster, named_cluster
from wsss_mm.errors import BusyError, InputError

__all__ = ["ray"]


def test_results_are_in_the_order_of_the_items(ray):
    before = signal.getsignal(signal.SIGTERM)
    assert map_on_cluster(lambda item: item * item, range(9), "square") == [item * item for item in range(9)]
    assert ray.most == 4, "twice what runs at once on two cores"
    assert ray.connections == 0
    assert ray.options == [
        {"name": "square", "num_cpus": 1, "num_gpus": 0, "max_retries": 3, "scheduling_strategy": "SPREAD"}
    ]
    assert signal.getsignal(signal.SIGTERM) is before
    assert map_on_cluster(str, [], "nothing") == []


def test_a_cluster_that_grows_holds_more(ray):
    def work(item):
        ray.cores.append(1)
        return item

    map_on_cluster(work, range(20), "grow")
    assert ray.most > 4


def test_tasks_work_in_this_folder_and_leave_nothing_there(ray, tmp_path, monkeypatch):
    def work(_):
        return Path.cwd(), [path.name[:8] for path in Path("work_dirs").iterdir()]

    assert map_on_cluster(work, [1], "look") == [(tmp_path, ["cluster-"])]
    assert not list((tmp_path / "work_dirs").iterdir())
    monkeypatch.setattr(clusters, "_enter", lambda folder, mark, enter=clusters._enter: enter(folder, f"{mark}-not"))
    with pytest.raises(InputError, match=rf"^{tmp_path}: node 10\.0\.0\.7 does not see what lies there; mount"):
        map_on_cluster(work, [1], "look")
    assert ray.connections == 0


def test_of_several_errors_that_of_the_first_item_is_raised_and_no_task_is_done_twice(ray):
    done = []

    def work(item):
        done.append(item)
        if item in (2, 3, 7):
            raise InputError(f"slide {item}: no slide")
        return item

    with pytest.raises(InputError, match=r"^slide 2: no slide$"):
        map_on_cluster(work, range(9), "work")
    assert len(done) == len(set(done))
    assert {0, 1, 2} <= set(done)
    assert ray.connections == 0


def test_who_died_too_often_is_named(ray):
    ray.dies = lambda item: item == "b"
    with pytest.raises(DiedError, match=r"^slides/b\.svs: its node or process died too often \(The node died\); try"):
        map_on_cluster(str, ["a", "b"], "work", lambda item: f"slides/{item}.svs")


def test_a_defect_is_raised_as_it_is(ray, caplog):
    with pytest.raises(ZeroDivisionError):
        map_on_cluster(lambda item: 1 / item, [1, 0], "divide")
    assert "a traceback" in caplog.text


def test_ctrl_c_ends_the_connection(ray, monkeypatch, tmp_path):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        map_on_cluster(str, [1], "work")
    assert ray.connections == 0
    assert not list((tmp_path / "work_dirs").iterdir())


def test_a_folder_still_held_is_waited_for(ray, monkeypatch):
    """The process of a node that is being given up lets go of it a little later."""
    answers = [BusyError("at work"), BusyError("at work"), "done"]

    def later(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(clusters, "_LOCK_PAUSE", 0)
    assert map_on_cluster(later, [1], "work") == ["done"]


def test_a_node_without_a_core(ray):
    ray.cores = [0, 0]
    with pytest.raises(InputError, match="no node of the cluster has 1 cores and 0 GPUs, as a task of work takes"):
        map_on_cluster(str, [1], "work")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1", "nowhere:port"])
def test_no_cluster(ray, monkeypatch, address):
    monkeypatch.setenv(CLUSTER, address)
    says = rf"^WSSS_MM_RAY={address}: no cluster there \(.+\); start one with `ray start --head`"
    with pytest.raises(InputError, match=f"{says}$"):
        map_on_cluster(str, [1], "work")
    with pytest.raises(InputError, match=f"{says}, or work on this machine: unset WSSS_MM_RAY$"):
        check_cluster()


def test_a_cluster_of_another_version(ray, monkeypatch):
    """As Ray says it, over several lines; the connection that it has made by then is given up."""

    def refuses(**_):
        ray.connections += 1
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.11.9\n"
            "This process on node 10.0.0.7 was started with:\n    Ray: 2.60.0\n    Python: 3.11.2\n"
        )

    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(InputError) as told:
        check_cluster()
    assert str(told.value) == (
        "WSSS_MM_RAY=auto: the cluster has Ray 2.59.0 and Python 3.11.9, this machine Ray 2.60.0 and Python 3.11.2; "
        "install the same on all and start the cluster again, or work on this machine: unset WSSS_MM_RAY"
    )
    assert ray.connections == 0


def test_what_a_cluster_has(ray, monkeypatch):
    ray.cores = [4, 12]
    assert check_cluster() == "auto: nodes 2, cores 16, GPUs 0, Ray 2.60.0"
    assert ray.connections == 0
    monkeypatch.delenv(CLUSTER)
    assert check_cluster() == ""


def test_a_stage_and_the_doctor_ask_before_anything_runs(ray, monkeypatch, tmp_path, capsys):
    from pipelines.running import run_stage
    from wsss_mm.cli import doctor

    write_settings(tmp_path, content_of())
    monkeypatch.setenv(CLUSTER, "127.0.0.1:9")
    says = "WSSS_MM_RAY=127.0.0.1:9: no cluster there ([Errno 111] Connection refused); start one with"
    with pytest.raises(SystemExit) as code:
        run_stage(lambda _: pytest.fail("it ran"))
    assert code.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {says}")
    with pytest.raises(InputError, match=re.escape(says)):
        doctor._cluster()
    monkeypatch.delenv(CLUSTER)
    assert doctor._cluster() == "none: WSSS_MM_RAY is not set, stages run on this machine"


def test_without_ray(monkeypatch):
    monkeypatch.setenv(CLUSTER, " auto ")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^WSSS_MM_RAY=auto: Ray is not installed; install it with: pip install"):
        map_on_cluster(str, [1], "work")
    monkeypatch.delenv(CLUSTER)
    assert named_cluster() == ""
