"""champion.json: which model others are compared with."""

import pytest

from wsss_mm.errors import InputError
from wsss_mm.gates.champion import PIN, Pin, Rival, read_pin, rival, write_pin

NAME, SPLIT = "segmenter-lung", "abc"
FIRST, SECOND = Rival("1", "a" * 32, 0.8, SPLIT), Rival("2", "b" * 32, 0.9, SPLIT)


@pytest.mark.parametrize("pin", [Pin(), Pin(NAME), Pin(NAME, FIRST), Pin(NAME, Rival("1", "", None, ""), FIRST)])
def test_what_is_written_reads(pin, tmp_path):
    write_pin(tmp_path, pin)
    assert read_pin(tmp_path) == pin


def test_a_model_is_judged_alike_before_and_after_it_becomes_champion():
    """So its report, on which segmented slides rest, keeps its bytes."""
    pins = (Pin(NAME, FIRST), Pin(NAME, SECOND, FIRST))
    assert [rival(pin, NAME, SECOND.weights_md5, SPLIT) for pin in pins] == [0.8, 0.8]
    pins = (Pin(), Pin(NAME, FIRST))
    assert [rival(pin, NAME, FIRST.weights_md5, SPLIT) for pin in pins] == [None, None]


def test_figures_of_another_split_or_task_say_nothing():
    pin = Pin(NAME, FIRST)
    assert rival(pin, NAME, "c" * 32, SPLIT) == 0.8
    assert rival(pin, NAME, "c" * 32, "other") is None
    assert rival(pin, "segmenter-skin", "c" * 32, SPLIT) is None
    assert rival(pin, None, "c" * 32, SPLIT) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"name": 1', '{"name": "a", "champion": null}'),
        *(
            '{"name": "a", "champion": {"version": "1"}, "before": null}',
            '{"name": "a", "champion": 5, "before": null}',
        ),
        '{"name": "a", "before": null, "champion": '
        '{"version": "1", "weights_md5": "a", "miou": "0.9", "test_split": "b"}}',
        '{"name": "a", "before": null, "champion": {"version": "1", "weights_md5": "", "miou": 90, "test_split": ""}}',
    ],
)
def test_a_damaged_pin_is_one_line(text, tmp_path):
    (tmp_path / PIN).write_text(text)
    with pytest.raises(InputError, match=r"champion\.json: .*wsss-mm models pin"):
        read_pin(tmp_path)


def test_a_missing_pin_says_what_makes_it(tmp_path):
    with pytest.raises(InputError, match=r"champion\.json: not found; make it with: wsss-mm models pin"):
        read_pin(tmp_path)
