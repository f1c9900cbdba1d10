"""What names of files say, by patterns of two kinds."""

from pathlib import Path

import pytest

from wsss_mm.cohort.naming import NamePattern
from wsss_mm.errors import InputError


@pytest.mark.parametrize(
    ("pattern", "path", "cells"),
    [
        ("{patient}_{slide}_{site}.svs", "P1_S1_Ulm.svs", {"patient_id": "P1", "slide_id": "S1", "site": "Ulm"}),
        ("{patient}_{slide}_{site}", "P1_S1_Ulm.SVS", {"patient_id": "P1", "slide_id": "S1", "site": "Ulm"}),
        ("{patient}-*", "P1-a-b.svs", {"patient_id": "P1"}),
        ("{patient}_{}_{site}", "P1_x_y_Ulm.ndpi", {"patient_id": "P1", "site": "y_Ulm"}),
        ("??{patient}", "HEP1.svs", {"patient_id": "P1"}),
        ("{split}/{patient}/*", "/data/train/P1/scan.svs", {"split": "train", "patient_id": "P1"}),
        ("{patient}.x", "P1.x.svs", {"patient_id": "P1"}),
        (r"(?P<patient>P\d+)", "scan of P12, first.svs", {"patient_id": "P12"}),
        (r"/(?P<site>[^/]+)/[^/]+$", "/data/Ulm/a.svs", {"site": "Ulm"}),
        (r"^(?P<patient>\w+?)(_(?P<site>\w+))?\.", "P1.svs", {"patient_id": "P1"}),
        ("{patient_id}+{slide}", "P1+S1.svs", {"patient_id": "P1", "slide_id": "S1"}),
        ("{patient}_{slide}", "P1.svs", None),
        ("{patient}_{slide}.svs", "P1_S1.ndpi", None),
    ],
)
def test_names(pattern, path, cells):
    assert NamePattern(pattern).cells(Path(path)) == cells


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{patent}_*", "'patent' is none of slide, patient, site, split; did you mean patient"),
        ("{patient", "a brace has no other"),
        ("{patient}_{patient}", "no regular expression"),
        ("(?P<patient>[)", "no regular expression"),
        ("P1.svs", "names nothing"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern, message):
    with pytest.raises(InputError, match=message):
        NamePattern(pattern)
