"""An error is one line, whatever names from data are in it."""

import pytest

from wsss_mm.errors import InputError


@pytest.mark.parametrize("evil", ["a\nb", "a\rb", "a\x00b", "\x1b[2J", "a\u2028b", "\u202ea", "a\udcffb"])
def test_what_a_terminal_would_not_print_is_spelled_out(evil):
    text = str(InputError(f"{evil}.png: not found; remove it"))
    assert text.isprintable()
    assert text.endswith(".png: not found; remove it")


def test_what_can_be_printed_stays():
    assert str(InputError("Bäume/漢 <b>.png: 2 µm")) == "Bäume/漢 <b>.png: 2 µm"
