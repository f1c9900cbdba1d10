"""What gates say is for pathologists: no names of columns or parameters, and no abbreviation that is not explained."""

import re
from string import Formatter

import pytest

from tests.settings import content_of
from wsss_mm.gates import GATES
from wsss_mm.gates.checks import Thresholds, gate_tables
from wsss_mm.gates.runner import _tell
from wsss_mm.settings import Params

EACH = pytest.mark.parametrize("gate", GATES)


def checks(gate):
    """Each check of a gate, with its table."""
    return [(table, check) for table in gate_tables(gate).values() for check in table.checks]


FILE = re.compile(r"\b[\w/.-]+\.(csv|json|yaml|parquet|png|tif)\b|\b(data|models|reports|results)/[\w/]+")
COMMAND = re.compile(r"\b(wsss-mm|dvc) [^;,):]*")
SETTING = re.compile(
    r"\b[a-z_]+\.[a-z_]+\b(?= and \b[a-z_]+\.| to false in| in (params|gates)\.yaml| names your| nearer)"
)
KNOWN = {"QuPath", "GeoJSON", "GeoParquet", "OME-Zarr", "DICOM", "NEC", "TE"}
EXPLAINED = {"IoU": "overlap", "kappa": "kappa"}
"""What may be abbreviated, with the word that explains it in the same sentence."""
COLUMNS = {"slide_id", "patient_id"}
"""Columns of tables that people write, which they have to be told by name."""


@pytest.fixture(scope="module")
def params():
    return Params.model_validate(content_of("phantom"))


def fabricated(check):
    """What is said of a row that fails, with values of the kind that the sentence asks for."""
    values = {}
    for _, name, form, conversion in Formatter().parse(check.found):
        if name:
            values[name] = 1.2345 if form else "text" if conversion or check.among == ["none"] else 3
    assert values.keys() <= {check.column or "rows", check.same_as}, check.name
    said = _tell(check.found, values)
    assert all(re.search(r"text|\d", said) for _ in values), check.name
    return said


def plain(text):
    """A sentence without files, commands and settings, which are what one types."""
    for what in (COMMAND, SETTING, FILE):
        text = what.sub("...", text)
    return text


def understood(text):
    """Raises where a sentence holds a word that is none."""
    words = re.findall(r"[A-Za-z_][\w-]*(?:\.\w+)*", text)
    for word in words:
        assert "_" not in word or word in COLUMNS, f"{word}: {text}"
        assert "." not in word.strip("."), f"{word}: {text}"
        if re.search(r"[A-Z].*[A-Z]", word) and word not in KNOWN:
            assert word in EXPLAINED and EXPLAINED[word] in text, f"{word}: {text}"
    assert not re.search(r"\b(mpp|roi|sha256|md5|px2|ap|iou|nan|None|True|False)\b", text), text
    assert not re.search(r"[{}\[\]]", text), text


@EACH
def test_what_was_expected_and_what_was_found_is_plain_english(gate, params):
    thresholds = Thresholds(gate, params)
    for table, check in checks(gate):
        says = thresholds.fill(check.says)
        understood(plain(says) if FILE.search(says) else says)
        understood(fabricated(check))
        understood(table.name)


@EACH
def test_what_to_do_names_commands_files_and_settings_alone(gate, params):
    for _, check in checks(gate):
        text = Thresholds(gate, params).fill(check.do)
        understood(plain(text).replace("column mpp", "column ..."))
        for setting, file in re.findall(
            r"\b([a-z_]+\.[a-z_]+) (?:and \S+ )?(?:to false )?in (params|gates)\.yaml", text
        ):
            section, name = setting.split(".")
            assert hasattr(getattr(params.gates if file == "gates" else params, section), name), setting


@EACH
def test_no_number_is_shown_alone(gate):
    for _, check in checks(gate):
        words = re.sub(r"\{[^}]*\}", "", check.found).strip(" %")
        assert words or re.search(r"\{[a-z_]+\}", check.found), check.found
