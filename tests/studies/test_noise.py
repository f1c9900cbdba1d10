import pytest

from studies.noise import _parser


def test_kinds_are_those_that_masks_can_be_spoiled_in(capsys):
    assert _parser().parse_args([]).kinds == ["pixels", "regions"]
    with pytest.raises(SystemExit):
        _parser().parse_args(["--kinds", "pixel"])
    assert "invalid choice: 'pixel'" in capsys.readouterr().err
