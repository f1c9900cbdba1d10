"""Files in shards are read, digested and looked for like those by themselves, and nothing else is read for them."""

import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.patches import get_vocabulary, read_manifest, shards, write_manifest
from wsss_mm.patches.digests import judged_digest
from wsss_mm.patches.images import read_image, read_label_map, read_listed, read_mask, store_patch
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.patches.shards import (
    PackedFile,
    any_packed,
    file_of,
    is_stored,
    is_stored_inside,
    name_outside,
    pack_files,
    stored_digest,
)

LUNG = get_vocabulary("lung")
LONG = "a" * 190


def fill(folder: Path, slides: dict[str, int]) -> pd.DataFrame:
    """A folder of small patches, every other one with a mask; its rows."""
    rows = []
    for slide, count in slides.items():
        for number in range(count):
            rng = np.random.default_rng([len(slide), number])
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            mask = None if number % 2 else rng.integers(0, 4, (8, 8)).astype(np.uint8)
            stored = store_patch(folder, f"{slide}-{number}", "train", image=image, mask=mask, vocabulary=LUNG)
            known = {"slide_id": slide, "patient_id": slide, "x": 0, "y": 0, "mpp": 1.0, "tissue": 1.0}
            rows.append(stored | known | dict.fromkeys(LUNG.codes, True))
    return build_manifest(rows, LUNG, "here")


@pytest.fixture
def both(tmp_path):
    """The same patches by themselves and in shards."""
    files, packed = tmp_path / "files", tmp_path / "shards"
    rows = fill(files, {"s1": 4, "s2": 3, LONG: 2})
    fill(packed, {"s1": 4, "s2": 3, LONG: 2})
    moved = pack_files(rows, packed, ("path", "mask_path"))
    for folder, frame in ((files, rows), (packed, moved)):
        write_manifest(frame, folder)
    return files, packed


def test_everybody_sees_the_same(both):
    files, packed = both
    rows, moved = (read_manifest(folder, LUNG) for folder in both)
    assert any_packed(moved["path"])
    assert not any_packed(rows["path"])
    pd.testing.assert_frame_equal(rows.drop(columns=["path", "mask_path"]), moved.drop(columns=["path", "mask_path"]))
    for one, other in zip(rows.itertuples(), moved.itertuples(), strict=True):
        np.testing.assert_array_equal(read_image(files / one.path), read_image(packed / other.path))
        assert stored_digest(packed / other.path) == digest(files / one.path) == other.sha256
        assert is_stored_inside(packed, other.path)
        assert name_outside(other.path) == Path(one.path).name
        if one.mask_path:
            np.testing.assert_array_equal(
                read_label_map(files / one.mask_path), read_listed(read_label_map, packed / other.mask_path)
            )
            assert read_mask(packed / other.mask_path, 4).shape == (8, 8)
        else:
            assert other.mask_path is None
    assert judged_digest(rows, "train", files) == judged_digest(moved, "train", packed)


def test_another_program_reads_shards(both, tmp_path):
    files, packed = both
    out = tmp_path / "out"
    out.mkdir()
    for shard in packed.rglob("images/**/*.tar"):
        subprocess.run(["tar", "-xf", shard, "-C", out], check=True)
    assert {path.name: digest(path) for path in out.iterdir()} == {
        path.name: digest(path) for path in files.rglob("images/**/*.png")
    }
    assert not list(packed.rglob("*.png"))


def test_equal_patches_give_equal_bytes_whoever_writes_them(both, tmp_path):
    _, packed = both
    again = tmp_path / "again"
    rows = fill(again, {LONG: 2, "s2": 3, "s1": 4}).sample(frac=1, random_state=0)
    os.utime(again / rows["path"].iloc[0], (0, 0))
    write_manifest(pack_files(rows, again, ("path", "mask_path")), again)
    made = [{path.relative_to(root): digest(path) for path in root.rglob("*.*")} for root in (packed, again)]
    assert made[0] == made[1]


def test_a_slide_has_shards_of_its_own_and_few_patches_share_one(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "FEW_PATCHES", 3)
    monkeypatch.setattr(shards, "MOST_PATCHES", 4)
    moved = pack_files(fill(tmp_path, {"large": 9, "small": 2, "large-000": 3}), tmp_path, ("path",))
    found = {path.relative_to(tmp_path / "images/train").as_posix() for path in tmp_path.rglob("images/**/*.tar")}
    (shared,) = (name for name in found if name.startswith("few/"))
    assert found == {"large-000.tar", "large-001.tar", "large-002.tar", "large-000-000.tar", shared}
    assert moved["path"].is_unique
    for shard in found:
        with tarfile.open(tmp_path / "images/train" / shard) as archive:
            assert archive.getnames() == sorted(archive.getnames())


def test_another_slide_leaves_the_shards_of_others_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "FEW_PATCHES", 3)
    made = []
    for name, slides in (("one", {"s1": 4, "s2": 3}), ("two", {"s1": 4, "s0": 5, "s2": 3})):
        pack_files(fill(tmp_path / name, slides), tmp_path / name, ("path", "mask_path"))
        made.append({path.name for path in (tmp_path / name).rglob("images/**/*.tar")})
    assert made[0] < made[1]


@given(st.text(st.sampled_from("ab.@+/0123456789-tarpng\u0660"), max_size=40))
def test_a_path_has_one_spelling(text):
    if (packed := PackedFile.of(Path(f"x.tar/{text}"))) is not None:
        assert f"{packed.shard}/{packed.name}@{packed.offset}+{packed.size}" == str(Path(f"x.tar/{text}"))


class TestHostile:
    """A manifest may come from anywhere, and a shard may be damaged."""

    @pytest.fixture
    def packed(self, both):
        _, folder = both
        return folder, PackedFile.of(folder / read_manifest(folder, LUNG)["path"].iloc[-1])

    @pytest.mark.parametrize(
        "place",
        ["@{0}+{2}", "@{3}+{1}", "@-512+{1}", "@512+-1", "@{4}+{1}", "@{0}+{4}", "@0+512", "@{0}", "@1e3+5", "@{0}+0"],
    )
    @pytest.mark.parametrize("reading", [read_image, lambda path: read_listed(read_label_map, path)])
    def test_a_place_that_is_not_its_own(self, packed, place, reading):
        folder, file = packed
        said = place.format(file.offset, file.size, file.size - 1, file.offset + 512, 10**17)
        path = file.shard / f"{file.name}{said}"
        assert not is_stored(path)
        assert not is_stored_inside(folder, path.relative_to(folder).as_posix())
        with pytest.raises(InputError, match=rf"^{file.shard}.*(dvc|get it again)") as caught:
            reading(path)
        assert "\n" not in str(caught.value)

    def test_another_name_at_a_place(self, packed):
        _, file = packed
        with pytest.raises(InputError, match=r"\.tar: holds something else than other\.png at byte"):
            read_image(file.shard / f"other.png@{file.offset}+{file.size}")

    def test_a_shard_that_is_cut_short(self, packed):
        folder, file = packed
        os.truncate(file.shard, file.offset + file.size - 1)
        path = file.shard / f"{file.name}@{file.offset}+{file.size}"
        with pytest.raises(InputError, match=r"\.tar: cut short: .* ends at byte \d+ of \d+; run: dvc checkout"):
            read_listed(read_image, path)
        assert not is_stored_inside(folder, path.relative_to(folder).as_posix())

    @pytest.mark.parametrize("what", ["nothing", "folder", "pipe", "text"])
    def test_what_is_no_shard(self, packed, what):
        folder, file = packed
        file.shard.unlink()
        if what == "folder":
            file.shard.mkdir()
        elif what == "pipe":
            os.mkfifo(file.shard)
        elif what == "text":
            file.shard.write_text("x" * 100_000)
        path = file.shard / f"{file.name}@{file.offset}+{file.size}"
        assert not is_stored_inside(folder, path.relative_to(folder).as_posix())
        with pytest.raises(InputError, match=r"\.tar: "):
            read_image(path)

    def test_a_shard_elsewhere(self, packed, tmp_path):
        folder, file = packed
        (folder / "link.tar").symlink_to(Path(file.shard).rename(tmp_path / "elsewhere.tar"))
        name = f"{file.name}@{file.offset}+{file.size}"
        assert read_image(folder / "link.tar" / name).shape == (8, 8, 3)  # as of a file by itself
        for relative in (f"link.tar/{name}", f"../elsewhere.tar/{name}", f"{tmp_path}/elsewhere.tar/{name}"):
            assert not is_stored_inside(folder, relative)

    @pytest.mark.parametrize("path", ["../s.tar/a.png@512+5", "/s.tar/a.png@512+5", "s.tar\\a.png@512+5"])
    def test_a_manifest_names_no_shard_outside_its_folder(self, both, path):
        _, folder = both
        rows = read_manifest(folder, LUNG)
        rows.loc[0, "path"] = path
        write_manifest(rows, folder)
        with pytest.raises(InputError, match="leads outside its folder"):
            read_manifest(folder, LUNG)

    def test_sizes_that_no_memory_holds(self, tmp_path):
        (tmp_path / "s.tar").touch()
        os.truncate(tmp_path / "s.tar", 1 << 40)  # holes alone
        with pytest.raises(InputError, match="cannot lie at byte 512"):
            read_image(tmp_path / f"s.tar/a.png@512+{1 << 39}")


def test_files_by_themselves_may_have_any_name(tmp_path):
    assert file_of(tmp_path / "a@512+5") == tmp_path / "a@512+5"
    assert file_of(tmp_path / "s.tar/a@512+5") == tmp_path / "s.tar"
    assert name_outside("images/train/a.png") == "images/train/a.png"


def test_older_releases_refuse_a_manifest_of_shards(both):
    import pyarrow.parquet as pq

    said = [pq.read_metadata(folder / "manifest.parquet").metadata[b"wsss_mm.format"] for folder in both]
    assert said == [b"1", b"2"]
