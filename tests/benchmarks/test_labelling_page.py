"""The labelling page in a browser: what is said where there is none."""

import shutil

import pytest

from benchmarks import labelling_page
from benchmarks.command import Missing, settings


def test_without_a_browser_it_says_so(monkeypatch):
    pytest.importorskip("playwright")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Missing, match="no chromium"):
        list(labelling_page.measure(settings(labelling_page.OPTIONS, quick=True)))


def test_a_row_needs_an_answer_for_each_fifth():
    answers = labelling_page.OPTIONS["answers"]
    assert min(answers.full, answers.quick) >= 5
