"""Which files are meant by files, folders and patterns."""

import pytest

from wsss_mm.cohort.finding import find_slide_files
from wsss_mm.errors import InputError


@pytest.fixture
def scans(tmp_path):
    for name in ("b.svs", "a.svs", ".hidden.svs", "deep/er/c.svs", "notes.txt", "m.mrxs", "m/Data0001.dat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(scans, *names):
    return [(file.path.relative_to(scans).as_posix(), file.named) for file in find_slide_files(map(str, names))]


def test_a_folder_is_gone_through_to_the_end(scans):
    names = ["a.svs", "b.svs", "deep/er/c.svs", "m.mrxs", "notes.txt"]
    assert found(scans, scans) == [(name, False) for name in names]


def test_a_file_of_a_folder_that_is_named_too_counts_once(scans):
    assert found(scans, scans, scans / "b.svs")[:2] == [("a.svs", False), ("b.svs", True)]
    assert len(found(scans, scans, scans / "b.svs", scans / "deep/../b.svs")) == 5


def test_a_pattern_that_no_shell_spelled_out(scans):
    assert found(scans, scans / "*.svs") == [("a.svs", True), ("b.svs", True)]
    assert found(scans, scans / "**/c.svs") == [("deep/er/c.svs", True)]
    assert found(scans, scans / "m*") == [("m.mrxs", True)]


def test_a_name_with_brackets_is_a_name(scans):
    (scans / "a[1].svs").touch()
    assert found(scans, scans / "a[1].svs") == [("a[1].svs", True)]


@pytest.mark.parametrize("name", ["none.svs", "none*.svs", "a\0.svs"])
def test_what_is_not_there_is_refused(scans, name):
    with pytest.raises(InputError, match="no such file or folder"):
        find_slide_files([f"{scans}/{name}"])


def test_the_folder_of_a_mirax_slide_is_refused_with_its_slide(scans):
    with pytest.raises(InputError, match=r"m: is the folder of a slide; name the slide: .*m\.mrxs"):
        find_slide_files([str(scans / "m")])


def test_links_are_followed_but_not_in_circles(scans, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "d.svs").touch()
    (scans / "deep/link").symlink_to(other)
    (scans / "deep/back").symlink_to(scans)
    assert [name for name, _ in found(scans, scans / "deep")][:2] == ["deep/back/a.svs", "deep/back/b.svs"]
    names = [name for name, _ in found(scans, scans)]
    assert names == ["a.svs", "b.svs", "deep/er/c.svs", "deep/link/d.svs", "m.mrxs", "notes.txt"]
