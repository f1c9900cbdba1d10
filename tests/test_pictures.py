import numpy as np
import pytest

from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.pictures import SheetRow, contact_sheet, overlay, overlays

BREAST = get_vocabulary("breast")


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_overlay_tints_classes_and_fades_what_is_ignored(kind):
    image = np.full((20, 20, 3), 100, np.uint8)
    labels = np.zeros((20, 20), kind)
    labels[:, 10:] = IGNORE
    shown = overlay(image, labels, BREAST, alpha=0.5)
    np.testing.assert_allclose(shown[5, 5], (np.array(BREAST.colors[0]) + 100) / 2, atol=1)
    assert (shown[5, 15] > 180).all()
    assert (image == 100).all()


def test_classes_are_outlined():
    labels = np.repeat(np.array([[0, 1]], np.uint8), 10, axis=1).repeat(20, axis=0)
    shown = overlay(np.full((20, 20, 3), 100, np.uint8), labels, BREAST)
    assert shown[5, 10].tolist() == [channel // 2 for channel in BREAST.colors[1]]


def test_sheet_holds_every_panel_and_the_same_rows_give_the_same_pixels():
    image = np.full((112, 112, 3), 100, np.uint8)
    truth = np.ones((112, 112), np.uint8)
    rows = [
        SheetRow(overlays(image, (truth, None), BREAST), "one"),
        SheetRow(overlays(image, (truth, truth), BREAST), "two"),
    ]
    titles = ["Image", "Prediction", "Truth"]
    sheet = np.asarray(contact_sheet(rows, titles, legend=BREAST))
    np.testing.assert_array_equal(sheet, np.asarray(contact_sheet(rows, titles, legend=BREAST)))
    tint = overlay(image, truth, BREAST)[50, 50]
    assert (sheet == tint).all(axis=2).sum() >= 3 * 220 * 220
    assert (sheet == 100).all(axis=2).sum() >= 2 * 220 * 220


def test_panels_of_any_shape_fit_their_square():
    wide, high = np.zeros((20, 80, 3), np.uint8), np.zeros((400, 100, 3), np.uint8)
    dark = (np.asarray(contact_sheet([SheetRow([wide, high])], ["", ""], side=100)) == 0).all(axis=2)
    assert dark.sum() == 2 * 25 * 100


@pytest.mark.parametrize("side", [150, 224])
def test_a_long_title_stays_in_its_column(side):
    sheet = np.asarray(contact_sheet([], ["CAM Tumour-associated stroma", ""], side=side))
    inked = np.flatnonzero((sheet < 200).any(axis=(0, 2)))
    assert inked.size
    assert inked.max() < 12 + side


def test_legend_of_many_classes_stays_on_the_sheet():
    image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    sheet = np.asarray(
        contact_sheet([SheetRow(overlays(image, [labels], BREAST), "x")], ["Image", "Truth"], legend=BREAST)
    )
    for color in BREAST.colors:
        assert (sheet == color).all(axis=2).sum() > 150


def test_an_empty_place_says_why_and_a_note_stands_below():
    black = np.zeros((40, 40, 3), np.uint8)
    bare, said = (
        np.asarray(contact_sheet([SheetRow([black, text])], ["", ""], note=note, side=100))
        for text, note in ((None, ""), ("not labelled TE", "word " * 40))
    )
    place = (slice(12 + 28, 12 + 28 + 100), slice(12 + 108, 12 + 208))
    assert (bare[place] == 255).all()
    assert (said[place] < 200).any()
    assert said.shape[0] - bare.shape[0] >= 3 * 24  # in lines that fit
    assert (said[bare.shape[0] :, -6:] == 255).all()
