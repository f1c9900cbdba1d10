"""Features are made once, by the best there is, and are found again by what decides them."""

import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from pipelines import features as stage
from tests.gates.project import inside
from tests.labelling.unlabelled import make_unlabelled
from tests.networks import CODES, make_classifier
from tests.nodes import ray
from wsss_mm import places
from wsss_mm.clusters import CLUSTER
from wsss_mm.errors import InputError
from wsss_mm.features import encoders, shards
from wsss_mm.features.shards import Shard, read_shard, write_shard
from wsss_mm.features.statistics import names, simple_features
from wsss_mm.features.store import Stopped, features_of
from wsss_mm.formats import read_object
from wsss_mm.slides.stain import Stain, recolour, stain_of_slide

__all__ = ["ray"]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    return make_unlabelled(tmp_path_factory.mktemp("features"))


@pytest.fixture
def project(oracle, tmp_path):
    """Candidates and cohort of a project, and an empty folder to keep features in."""
    return oracle.candidates(), oracle.cohort(), tmp_path


@pytest.fixture
def encoded(monkeypatch):
    """How many patches were given features, piece by piece."""
    counts, encode = [], encoders.Statistics.encode

    def counted(self, rows, images):
        counts.append(0)
        for found in encode(self, rows, images):
            counts[-1] += 1
            yield found

    monkeypatch.setattr(encoders.Statistics, "encode", counted)
    return counts


class TestStatistics:
    def test_rows_are_those_of_the_candidates(self, project):
        candidates, cohort, root = project
        mixed = candidates.sample(frac=1, random_state=0)
        found = features_of(mixed, cohort, root=root, progress=False)
        assert (found.kind, found.scores, found.failed) == ("statistics", None, ())
        assert found.values.shape == (len(candidates), len(names()))
        for row in (0, len(mixed) // 2, -1):
            place = mixed.iloc[row]
            slide = next(slide for slide in cohort if slide.slide_id == place.slide_id)
            with slide.open() as reader:
                image = reader.read(place.x, place.y, 64, 1.0)
            np.testing.assert_array_equal(found.values[row], simple_features(image[None])[0].astype(np.float16))

    def test_nothing_is_computed_twice_and_a_new_slide_adds_its_own(self, project, encoded):
        candidates, cohort, root = project
        some = candidates[candidates["slide_id"] != "phantom-test-01"]
        first = features_of(some, cohort, root=root, progress=False)
        assert sum(encoded) == len(some)
        encoded.clear()
        second = features_of(candidates, cohort, root=root, progress=False)
        assert sum(encoded) == len(candidates) - len(some)
        np.testing.assert_array_equal(second.values[candidates["slide_id"] != "phantom-test-01"], first.values)
        encoded.clear()
        features_of(candidates.iloc[::3], cohort, root=root, progress=False)
        assert sum(encoded) == 0

    def test_patches_that_come_are_added(self, project, encoded):
        candidates, cohort, root = project
        features_of(candidates.iloc[::2], cohort, root=root, progress=False)
        encoded.clear()
        whole = features_of(candidates, cohort, root=root, progress=False)
        assert sum(encoded) == len(candidates) // 2
        anew = features_of(candidates, cohort, root=root / "else", progress=False)
        np.testing.assert_array_equal(whole.values, anew.values)

    def test_progress_is_told_and_what_is_stopped_goes_on(self, project, encoded):
        candidates, cohort, root = project
        told, stop = [], threading.Event()

        def tell(done, total):
            told.append((done, total))
            if done == 20:
                stop.set()

        with pytest.raises(Stopped):
            features_of(candidates, cohort, root=root, progress=tell, stop=stop)
        assert told[-1] == (20, len(candidates))
        encoded.clear()
        features_of(candidates, cohort, root=root, progress=lambda *step: told.append(step))
        assert sum(encoded) == len(candidates) - 20
        assert told[-1] == (len(candidates), len(candidates))
        done = [done for done, _ in told]
        assert done == sorted(done)

    def test_a_killed_process_loses_no_finished_piece(self, project, encoded, monkeypatch):
        candidates, cohort, root = project
        monkeypatch.setattr(shards, "_PIECE", 8)
        keep, kept = shards.Store.keep, []

        def dies(self, key, shard):
            if len(kept) == 3:
                raise SystemExit
            kept.append(len(shard.corners))
            keep(self, key, shard)

        with monkeypatch.context() as patch:
            patch.setattr(shards.Store, "keep", dies)
            with pytest.raises(SystemExit):
                features_of(candidates, cohort, root=root, progress=False)
        encoded.clear()
        features_of(candidates, cohort, root=root, progress=False)
        assert sum(encoded) == len(candidates) - sum(kept) == len(candidates) - 24

    def test_slow_encoders_keep_what_they_have(self, project, monkeypatch):
        candidates, cohort, root = project
        monkeypatch.setattr(shards, "_PATIENCE", -1)
        features_of(candidates.head(6), cohort, root=root, progress=False)
        assert len(list((root / places.FEATURES_MEMORY).rglob("*.npz"))) == 6

    def test_a_full_disk_is_no_slides_fault(self, project, monkeypatch):
        candidates, cohort, root = project
        tried = []

        def full(path, *_):
            tried.append(path)
            raise InputError(f"{path}: no space left on device")

        monkeypatch.setattr(shards, "write_shard", full)
        with pytest.raises(InputError, match="no space left"):
            features_of(candidates, cohort, root=root, progress=False)
        assert len(tried) == 1

    def test_another_size_or_slide_is_another_key(self, project):
        _, cohort, _ = project
        slide, encoder = next(iter(cohort)), encoders.Statistics()
        keys = {shards.features_key(slide, encoder, 1.0, 64), shards.features_key(slide, encoder, 1.0, 32)}
        keys |= {shards.features_key(slide, encoder, 0.5, 64), shards.features_key(list(cohort)[1], encoder, 1.0, 64)}
        assert len(keys) == 4

    def test_a_broken_slide_takes_no_other_with_it(self, project, monkeypatch):
        candidates, cohort, root = project
        opens = shards.Slide.open

        def broken(self):
            if self.slide_id == "phantom-train-01":
                raise InputError(f"{self.path}: damaged")
            return opens(self)

        monkeypatch.setattr(shards.Slide, "open", broken)
        found = features_of(candidates, cohort, root=root, progress=False)
        bad = (candidates["slide_id"] == "phantom-train-01").to_numpy()
        assert np.isnan(found.values[bad]).all()
        assert np.isfinite(found.values[~bad]).all()
        assert len(found.failed) == 1
        assert "damaged" in found.failed[0]

    def test_a_slide_that_the_cohort_lacks_is_named(self, project):
        candidates, cohort, root = project
        other = candidates.assign(slide_id="other")
        with pytest.raises(InputError, match=r"lacks slide other, of which there are candidates; .* dvc repro candid"):
            features_of(other, cohort, root=root, progress=False)

    def test_no_candidates(self, project):
        candidates, cohort, root = project
        assert features_of(candidates.head(0), cohort, root=root).values.shape == (0, 0)
        assert not any(root.iterdir())


class TestClassifier:
    def test_features_before_the_head_and_probabilities(self, project):
        import torch

        candidates, cohort, root = project
        network = make_classifier(root)
        found = features_of(candidates, cohort, root=root, progress=False, codes=CODES)
        assert (found.kind, found.codes) == ("classifier", CODES)
        assert found.values.shape == (len(candidates), network.head.in_channels)
        row = candidates.iloc[5]
        slide = next(slide for slide in cohort if slide.slide_id == row.slide_id)
        with slide.open() as reader:
            images = torch.from_numpy(reader.read(row.x, row.y, 64, 1.0)).permute(2, 0, 1)[None]
        with torch.no_grad():
            pooled = network.features(network.normalize(images)).mean((2, 3))[0].numpy()
        np.testing.assert_allclose(found.values[5], pooled, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(found.scores[5], network.predict(images)[0].numpy(), rtol=1e-4, atol=1e-5)

    def test_one_that_knows_a_stain_is_shown_slides_in_it(self, project):
        candidates, cohort, root = project
        target = Stain("macenko", (0.65, 0.7, 0.29, 0.07, 0.99, 0.11, 1.0, 0.6))
        network = make_classifier(root, more={"stain": target.to_json()})
        rows = candidates.groupby("slide_id").head(2).reset_index(drop=True)
        found = features_of(rows, cohort, "classifier", root=root, progress=False, codes=CODES)
        for index in (0, len(rows) - 1):
            place = rows.iloc[index]
            slide = next(slide for slide in cohort if slide.slide_id == place.slide_id)
            with slide.open() as reader:
                change = recolour(stain_of_slide(reader, "macenko", 1.0), target)
                shown = torch.from_numpy(change(reader.read(place.x, place.y, 64, 1.0)))
            values, _ = network.describe(shown.permute(2, 0, 1)[None])
            np.testing.assert_allclose(found.values[index], values[0].numpy(), rtol=1e-2, atol=1e-3)

    def test_another_classifier_has_its_own(self, project):
        candidates, cohort, root = project
        some = candidates.head(4)
        make_classifier(root)
        first = features_of(some, cohort, root=root, progress=False, codes=CODES)
        make_classifier(root, seed=1)
        second = features_of(some, cohort, root=root, progress=False, codes=CODES)
        assert first.digest != second.digest
        assert not np.allclose(first.scores, second.scores)

    def test_those_of_the_last_few_classifiers_are_kept(self, project, monkeypatch):
        candidates, cohort, root = project
        some, memory = candidates.head(2), root / places.FEATURES_MEMORY
        features_of(some, cohort, root=root, progress=False)
        for number in range(4):
            monkeypatch.setattr(encoders, "_POOLED", number)
            make_classifier(root)
            features_of(some, cohort, root=root, progress=False, codes=CODES)
        kinds = [path.name.split("-")[0] for path in memory.iterdir()]
        assert sorted(kinds) == ["classifier"] * 3 + ["statistics"]

    def test_one_that_cannot_be_loaded_is_no_slides_fault(self, project, monkeypatch):
        candidates, cohort, root = project
        make_classifier(root)

        def damaged(*_):
            raise InputError("weights.pth: damaged")

        monkeypatch.setattr("wsss_mm.models.load_model", damaged)
        with pytest.raises(InputError, match=r"^weights\.pth: damaged$"):
            features_of(candidates, cohort, root=root, progress=False, codes=CODES)

    @pytest.mark.parametrize("other", [{"size": 48}, {"codes": CODES[:3]}])
    def test_one_that_does_not_fit_is_passed_over_and_said(self, project, caplog, other):
        candidates, cohort, root = project
        make_classifier(root, **other)
        found = features_of(candidates.head(3), cohort, root=root, progress=False, codes=CODES)
        assert found.kind == "statistics"
        assert "features are statistics" in caplog.text
        with pytest.raises(InputError, match="train it again: dvc repro"):
            features_of(candidates.head(3), cohort, "classifier", root, False, codes=CODES)

    def test_the_stage_writes_what_the_page_finds(self, oracle, tmp_path, monkeypatch):
        make_classifier(oracle.root)
        candidates = oracle.candidates()
        with inside(oracle.root):
            stage.main(oracle.params)
            before = {path.name: path.read_bytes() for path in places.FEATURES.iterdir()}
            stage.main(oracle.params)
            assert {path.name: path.read_bytes() for path in places.FEATURES.iterdir()} == before
        index = read_object(oracle.root / places.FEATURES / places.FEATURES_FILE, places.FEATURES_INDEX)
        assert index["slides"] == sorted(set(candidates["slide_id"]))
        assert len(before) == 4
        monkeypatch.setattr(places, "FEATURES_MEMORY", tmp_path / "none")
        monkeypatch.setattr(encoders.StoredClassifier, "encode", lambda *_: pytest.fail("computed again"))
        found = features_of(candidates, oracle.cohort(), root=oracle.root, progress=False)
        assert found.scores.shape == (len(candidates), 4)
        assert np.isfinite(found.values).all()

    def test_features_of_a_cluster_are_those_of_one_machine(self, ray, oracle, tmp_path, monkeypatch):
        """The nodes make them all, but for a slide whose node dies; that is left to the machine in front."""
        make_classifier(oracle.root)
        monkeypatch.delenv(CLUSTER)
        monkeypatch.setattr(stage, "MEMORY", tmp_path / "alone")
        encode, made = encoders.StoredClassifier.encode, []

        def counted(self, rows, images):
            made.append(rows["slide_id"].iloc[0])
            return encode(self, rows, images)

        monkeypatch.setattr(encoders.StoredClassifier, "encode", counted)
        with inside(oracle.root):
            stage.main(oracle.params)
            alone = {path.name: path.read_bytes() for path in places.FEATURES.iterdir()}
            slides = list(made)
            ray.cores = [torch.get_num_threads()] * 2
            ray.travel = lambda value: pickle.loads(pickle.dumps(value))
            monkeypatch.setenv(CLUSTER, "auto")
            monkeypatch.setattr(stage, "MEMORY", tmp_path / "far")
            ray.dies = lambda rows: rows["slide_id"].iloc[0] == slides[1]
            made.clear()
            stage.main(oracle.params)
            assert {path.name: path.read_bytes() for path in places.FEATURES.iterdir()} == alone
        assert len(slides) == len(set(slides)) == 3
        assert made == [slides[2], slides[0], slides[1]], "each slide once, and on this machine the last alone"
        assert (ray.options[-1]["num_cpus"], ray.options[0]["num_gpus"]) == (torch.get_num_threads(), 0)

    def test_the_stage_without_candidates_asks_for_no_classifier(self, oracle, tmp_path, monkeypatch):
        monkeypatch.setattr(stage, "read_candidates", lambda: oracle.candidates().head(0))
        monkeypatch.setattr(stage, "OUT", tmp_path / "out")
        monkeypatch.setattr(stage, "MODEL", tmp_path / "none")
        with inside(oracle.root):
            stage.main(oracle.params)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [places.FEATURES_FILE]


class TestShards:
    SHARD = Shard(np.arange(6).reshape(3, 2), np.ones((3, 5), np.float16), np.zeros((3, 0), np.float32))

    def test_bytes_are_the_same_twice_and_reading_gives_what_was_written(self, tmp_path):
        for name in "ab":
            write_shard(tmp_path / f"{name}.npz", self.SHARD, "key")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        found = read_shard(tmp_path / "a.npz", "key")
        pd.testing.assert_frame_equal(pd.DataFrame(found.values), pd.DataFrame(self.SHARD.values))
        np.testing.assert_array_equal(found.corners, self.SHARD.corners)
        assert read_shard(tmp_path / "a.npz", "other") is None

    @pytest.mark.parametrize("damage", ["half", "empty", "garbage", "packed", "objects", "short", "newer"])
    def test_what_is_damaged_is_none(self, tmp_path, damage):
        path = tmp_path / "a.npz"
        write_shard(path, self.SHARD, "key")
        whole = path.read_bytes()
        said = {"format": np.int64(1), "key": np.frombuffer(b"key", np.uint8), **vars(self.SHARD)}
        if damage in ("half", "empty", "garbage"):
            path.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "garbage": b"PK\3\4" * 99}[damage])
        elif damage == "packed":
            np.savez_compressed(path, **said)
        elif damage == "objects":
            np.savez(path, **{**said, "values": np.array([[object()]])})
        elif damage == "short":
            np.savez(path, **{**said, "values": self.SHARD.values[:2]})
        else:
            np.savez(path, **{**said, "format": np.int64(2)})
        assert read_shard(path, "key") is None
