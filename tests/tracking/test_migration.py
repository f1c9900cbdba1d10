"""A store that was kept in a project arrives in another one whole, once, and without harm to what is there."""

import shutil
from pathlib import Path

import pytest

from deploy.migrate_store import COPIED_FROM, main, migrate_store
from wsss_mm.errors import InputError
from wsss_mm.tracking import training_run
from wsss_mm.tracking.store import connect, experiment_id

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def stores(project, store, monkeypatch):
    """Clients of a project's store, which is in use, and of an empty other one."""
    for name in ("own", "server"):
        shutil.copy(store / "empty.db", project / f"{name}.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/own.db")
    mlflow = connect()
    yield tuple(
        mlflow.MlflowClient(uri, uri) for uri in (f"sqlite:///{project}/{name}.db" for name in ("own", "server"))
    )
    mlflow.end_run()


def fill(project, client) -> str:
    """A run with all a run can hold, registered as version 2 of `segmenter`; version 1 was deleted."""
    with training_run("segmenter", {"lr": 0.1, "loss": {"name": "onss"}}, inputs=[project / "data"]) as active:
        run_id = active.info.run_id
        for step in (0, 10, 20):
            client.log_metric(run_id, "loss", 1.0 / (step + 1), step=step)
        client.log_text(run_id, f'{{"runs": {{"train_segmenter": "{run_id}"}}}}', "evidence/lineage.json")
        model = client.create_logged_model(active.info.experiment_id, "segmenter", run_id)
        folder = project / "model"
        folder.mkdir(exist_ok=True)
        (folder / "MLmodel").write_text(f"model_id: {model.model_id}\nrun_id: {run_id}\n")
        (folder / "weights.pth").write_bytes(b"weights")
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        from mlflow.entities import LoggedModelOutput

        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    client.create_registered_model("segmenter", {"made": "here"}, "Tissue")
    source = f"models:/{model.model_id}"
    client.create_model_version("segmenter", source, run_id, model_id=model.model_id)
    client.delete_model_version("segmenter", "1")
    client.create_model_version(
        "segmenter", source, run_id, tags={"test.miou": "0.9"}, description=f"From {run_id}", model_id=model.model_id
    )
    client.set_registered_model_alias("segmenter", "champion", "2")
    return run_id


def history(client, run_id):
    return [
        [(point.value, point.step, point.timestamp) for point in client.get_metric_history(run_id, key)]
        for key in sorted(client.get_run(run_id).data.metrics)
    ]


def copies(client, run_id):
    experiments = [item.experiment_id for item in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`{COPIED_FROM}` = '{run_id}'")


def test_all_that_a_run_holds_arrives(project, stores, capsys):
    own, server = stores
    run_id = fill(project, own)
    assert main(["own.db", "--to", f"sqlite:///{project}/server.db"]) == 0
    assert "1 runs and 1 model versions" in capsys.readouterr().out
    (copy,) = copies(server, run_id)
    run, new = own.get_run(run_id), copy.info.run_id
    assert server.get_experiment(copy.info.experiment_id).name == "segmenter"
    assert copy.data.params == run.data.params
    assert set(run.data.metrics) == {"loss"}
    assert history(server, new) == history(own, run_id)
    assert run.data.tags.items() <= copy.data.tags.items()
    for name in ("run_name", "status", "start_time", "end_time"):
        assert getattr(copy.info, name) == getattr(run.info, name)
    digests = [[item.dataset.digest for item in of.inputs.dataset_inputs] for of in (run, copy)]
    assert digests[0] == digests[1] != []
    assert {item.path for item in server.list_artifacts(new)} == {item.path for item in own.list_artifacts(run_id)}
    assert connect().artifacts.load_text(f"{copy.info.artifact_uri}/evidence/lineage.json").count(new) == 1

    version = server.get_model_version_by_alias("segmenter", "champion")
    assert (version.run_id, version.description, version.tags["test.miou"]) == (new, f"From {new}", "0.9")
    assert server.get_registered_model("segmenter").description == "Tissue"
    (model,) = [item.model_id for item in copy.outputs.model_outputs]
    assert version.source == f"models:/{model}"
    location = server.get_logged_model(model).artifact_location
    assert connect().artifacts.load_text(f"{location}/MLmodel") == f"model_id: {model}\nrun_id: {new}\n"


def test_a_second_time_brings_only_what_is_new(project, stores):
    own, server = stores
    first = fill(project, own)
    uri = f"sqlite:///{project}/server.db"
    migrate_store(project / "own.db", uri)
    later = own.create_run(experiment_id("classifier")).info.run_id
    assert migrate_store(project / "own.db", uri).runs == 2
    assert [len(copies(server, run_id)) for run_id in (first, later)] == [1, 1]
    assert len(server.search_model_versions("name = 'segmenter'")) == 1


def test_an_interrupted_copy_is_completed(project, stores, monkeypatch):
    own, server = stores
    run_id = fill(project, own)
    uri = f"sqlite:///{project}/server.db"

    def cut(*_):
        raise ConnectionError("cut")

    with monkeypatch.context() as broken:
        broken.setattr(connect().MlflowClient, "log_artifacts", cut)
        with pytest.raises(ConnectionError):
            migrate_store(project / "own.db", uri)
    assert copies(server, run_id)
    migrate_store(project / "own.db", uri)
    (copy,) = copies(server, run_id)
    assert history(server, copy.info.run_id) == history(own, run_id)
    assert {item.path for item in server.list_artifacts(copy.info.run_id)} >= {"environment.txt", "evidence"}


def test_a_champion_there_stays_champion(project, stores, caplog):
    own, server = stores
    fill(project, own)
    server.create_registered_model("segmenter")
    theirs = server.create_run(server.create_experiment("theirs"))
    server.create_model_version("segmenter", theirs.info.artifact_uri, theirs.info.run_id)
    server.set_registered_model_alias("segmenter", "champion", "1")
    migrate_store(project / "own.db", f"sqlite:///{project}/server.db")
    assert server.get_model_version_by_alias("segmenter", "champion").version == 1
    assert len(server.search_model_versions("name = 'segmenter'")) == 2
    assert "stays so" in caplog.text


def test_what_cannot_be_copied_is_said(project, stores, capsys):
    own, _ = stores
    fill(project, own)
    assert main(["other.db"]) == 2
    assert (
        capsys.readouterr().err
        == "migrate_store.py: error: other.db: not found; name the mlflow.db of the project to migrate\n"
    )
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI"):
        migrate_store(project / "own.db")
    shutil.move(project / "mlartifacts", project / "elsewhere")
    with pytest.raises(InputError, match="put them back"):
        migrate_store(project / "own.db", f"sqlite:///{project}/server.db")


@pytest.mark.parametrize("harm", ["cut", "text"])
def test_a_damaged_store_is_told_from_the_one_in_use(project, stores, capsys, harm):
    """Whose name would send people to move away the wrong one."""
    damaged = project / "damaged.db"
    damaged.write_bytes((project / "own.db").read_bytes()[:50_000] if harm == "cut" else b"nothing")
    assert main(["damaged.db", "--to", f"sqlite:///{project}/server.db"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("migrate_store.py: error: damaged.db: no store of MLflow, or a damaged one (")
    assert message.count("\n") == 1


def test_a_target_of_no_known_kind_is_said(project, stores, capsys):
    assert main(["server.db", "--to", "htp://x"]) == 2
    assert "htp://x: MLflow knows no such store; correct" in capsys.readouterr().err


def test_models_beyond_the_first_page_arrive_too(stores, monkeypatch):
    own, server = stores
    for name in ("a", "b", "c"):
        own.create_registered_model(name)
    search = type(own).search_registered_models
    monkeypatch.setattr(type(own), "search_registered_models", lambda *a, **k: search(*a, **k, max_results=1))
    migrate_store(Path(own.tracking_uri.removeprefix("sqlite:///")), server.tracking_uri)
    assert [server.get_registered_model(name).name for name in ("a", "b", "c")] == ["a", "b", "c"]
