import numpy as np

from wsss_mm.evaluation.pictures import SheetRow, contact_sheet, overlay
from wsss_mm.patches import IGNORE, get_vocabulary

BREAST = get_vocabulary("breast")


def test_overlay_tints_classes_and_fades_what_is_ignored():
    image = np.full((20, 20, 3), 100, np.uint8)
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = IGNORE
    shown = overlay(image, labels, BREAST, alpha=0.5)
    np.testing.assert_allclose(shown[5, 5], (np.array(BREAST.colors[0]) + 100) / 2, atol=1)
    assert (shown[5, 15] > 180).all()
    assert (image == 100).all()


def test_sheet_holds_every_panel_and_the_same_rows_give_the_same_bytes(tmp_path):
    image = np.full((112, 112, 3), 100, np.uint8)
    truth = np.ones((112, 112), np.uint8)
    rows = [
        SheetRow("one", image, {"Prediction": truth, "Truth": None}),
        SheetRow("two", image, {"Prediction": truth, "Truth": truth}),
    ]
    sheet = np.asarray(contact_sheet(rows, BREAST, tmp_path / "a.png"))
    contact_sheet(rows, BREAST, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    tint = overlay(image, truth, BREAST)[50, 50]
    assert (sheet == tint).all(axis=2).sum() >= 3 * 220 * 220
    assert (sheet == 100).all(axis=2).sum() >= 2 * 220 * 220


def test_legend_of_many_classes_stays_on_the_sheet():
    image, labels = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    sheet = np.asarray(contact_sheet([SheetRow("x", image, {"Truth": labels})], BREAST))
    for color in BREAST.colors:
        assert (sheet == color).all(axis=2).sum() > 150
