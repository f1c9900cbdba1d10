import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.patches.neighbours import Places, check_places, possible_classes


def rows(*places: tuple[str, int, int], size: int = 8) -> pd.DataFrame:
    return pd.DataFrame(
        {"slide_id": slide, "x": x, "y": y, "size": size, "path": f"{index}.png"}
        for index, (slide, x, y) in enumerate(places)
    )


GRID = rows(("a", 0, 0), ("a", 4, 0), ("a", 8, 0), ("b", 0, 0), ("a", -1, -1), ("a", -1, -1))


@pytest.fixture
def cut(tmp_path):
    """Writes patches cut from one picture a slide, at the places of rows; gives their folder."""

    def write(frame: pd.DataFrame, *, unit: int = 1) -> pd.DataFrame:
        slide = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for row in frame.itertuples():
            x, y = row.x * unit, row.y * unit
            Image.fromarray(slide[y : y + row.size, x : x + row.size]).save(tmp_path / row.path)
        return tmp_path

    return write


class TestPlaces:
    def test_squares_that_share_pixels_meet(self):
        places = Places.of(GRID)
        assert places.meeting(0, (0, 0), 8).tolist() == [0, 1]  # 2 touches it, 3 is on another slide, 4 is nowhere
        assert places.meeting(0, (3, -7), 8).tolist() == [0, 1, 2]

    def test_what_is_shared_is_the_same_pixels(self):
        places, slide = Places.of(rows(("a", 5, 9), ("a", 8, 3))), np.arange(400).reshape(20, 20)
        patches = [slide[y : y + 8, x : x + 8] for x, y in places.corners]
        own, others = places.shared(0, 1)
        np.testing.assert_array_equal(patches[0][own], patches[1][others])
        assert patches[0][own].shape == (2, 5)

    def test_unknown_places_are_alone(self):
        assert Places.of(GRID).on_slide_of(4).tolist() == [4]
        assert Places.of(GRID).meeting(4, (-1, -1), 8).tolist() == [4]


class TestPossibleClasses:
    def test_all_patches_over_a_pixel_must_hold_the_class(self):
        label_sets = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]], bool)
        possible = possible_classes(Places.of(GRID), label_sets, 1)
        assert possible.shape == (3, 8, 8)
        assert (possible[:, :, :4] == np.array([1, 0, 0], bool)[:, None, None]).all()
        assert (possible[:, :, 4:] == np.array([0, 0, 1], bool)[:, None, None]).all()
        assert (possible_classes(Places.of(GRID), label_sets, 4) == label_sets[4][:, None, None]).all()

    def test_the_own_label_set_where_they_contradict(self):
        label_sets = np.array([[1, 0], [0, 1], [0, 1], [1, 1], [1, 1], [1, 1]], bool)
        assert (possible_classes(Places.of(GRID), label_sets, 0) == np.array([1, 0], bool)[:, None, None]).all()

    def test_the_true_class_is_always_possible(self):
        """A map of classes, patches over it at random, their label sets from it."""
        rng = np.random.default_rng(1)
        truth = np.kron(rng.integers(0, 4, (8, 8)), np.ones((5, 5), int))
        places = Places.of(rows(*(("a", int(x), int(y)) for x, y in rng.integers(0, 32, (60, 2)))))
        cut = [truth[y : y + 8, x : x + 8] for x, y in places.corners]
        label_sets = np.array([[(patch == index).any() for index in range(4)] for patch in cut])
        ambiguous = 0
        for index, patch in enumerate(cut):
            possible = possible_classes(places, label_sets, index)
            assert np.take_along_axis(possible, patch[None], axis=0).all()
            ambiguous += possible.sum()
        assert ambiguous < label_sets.sum() * 64  # fewer than by the patches' own label sets


class TestCheckPlaces:
    def test_the_same_pixels_pass(self, cut):
        check_places(GRID[:4], cut(GRID[:4]), "some.parameter")

    def test_places_in_another_unit_are_named(self, cut):
        folder = cut(GRID[:4], unit=3)
        with pytest.raises(InputError, match=r"0\.png and .*1\.png: should share pixels .* set some\.parameter in"):
            check_places(GRID[:4], folder, "some.parameter")
