"""Tables at the size of an archive: each subject does the whole of its work, on all rows."""

import pytest

from benchmarks import archive
from benchmarks.command import settings

COUNT = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    archive.write_archive(folder, COUNT)
    return folder


def done(name, folder):
    return archive.SUBJECTS[name](folder)()


def test_all_rows_are_read(folder):
    assert len(done("table of slides read", folder)) == COUNT // 1000
    assert len(done("manifest of patches read and checked", folder)) == COUNT
    assert len(done("candidates read and checked", folder)) == COUNT
    assert len(done("journals of two readers read, settled, as labels", folder)) == COUNT // 10


def test_slides_and_training_data_are_whole(folder):
    assert set(done("slides divided into splits", folder)) == {"s00000", "s00001"}
    assert len(done("training data of the classifier opened", folder)) == COUNT
    assert len(done("training data of the segmenter opened", folder)) == COUNT


def test_what_differs_between_two_versions(folder):
    change = done("two versions of the patches compared", folder)
    assert len(change.removed) == COUNT // 10
    assert len(change.relabelled) == COUNT - COUNT // 10


def test_the_manifest_that_is_written_is_the_one_that_was_read(folder):
    path = folder / "patches" / "manifest.parquet"
    before = path.read_bytes()
    done("manifest of patches written", folder)
    assert path.read_bytes() == before


def test_time_is_over_that_of_a_tenth_and_memory_stands_beside_it(monkeypatch):
    monkeypatch.setattr(archive, "in_children", lambda function, calls: [function(*call) for call in calls])
    monkeypatch.setattr(archive, "SUBJECTS", {"table of slides read": archive.SUBJECTS["table of slides read"]})
    rows = list(archive.measure(settings(archive.OPTIONS, quick=True)))
    assert [(row.unit, row.over_what) for row in rows] == [
        ("s of CPU", ""),
        ("MiB", ""),
        ("s of CPU", "a tenth of it"),
        ("MiB", ""),
    ]
    assert rows[2].what == "table of slides read, archive of 1,000 patches"
