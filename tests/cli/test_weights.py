"""`wsss-mm weights`: what it says of a file, and what it refuses."""

import struct

import numpy as np

from wsss_mm.cli.main import main


def write(path, name, array):
    data = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack(f"<II{array.ndim}q", 0xF993FAC8, array.ndim, *array.shape)
    data += struct.pack("<iii", 1, 0, 0) + array.tobytes() + struct.pack("<QQ", 1, len(name)) + name.encode()
    path.write_bytes(data)


def test_inspect_lists_arrays_and_says_that_the_md5_differs(tmp_path, capsys):
    write(tmp_path / "x.params", "arg:conv1a_weight", np.zeros((64, 3, 3, 3), "f4"))
    assert main(["weights", "inspect", str(tmp_path / "x.params")]) == 0
    out = capsys.readouterr().out
    assert "conv1a_weight" in out
    assert "64x3x3x3" in out
    assert "differs from the published file's ff21f45d6bf03284100dcbec571edfad" in out


def test_convert_refuses_what_does_not_fit_and_writes_nothing(tmp_path, capsys):
    write(tmp_path / "x.params", "arg:conv1a_weight", np.zeros((8, 3, 3, 3), "f4"))
    assert main(["weights", "convert", str(tmp_path / "x.params"), str(tmp_path / "out.pth")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "x.params: not the weights of ResNet38 A1" in err
    assert "1 of another shape: conv1a.weight (8, 3, 3, 3) for (64, 3, 3, 3)" in err
    assert "missing: b2.bn_branch2a.weight" in err
    assert not (tmp_path / "out.pth").exists()


def test_a_damaged_file_is_one_line(tmp_path, capsys):
    (tmp_path / "cut.params").write_bytes(struct.pack("<QQQ", 0x112, 0, 2**60))
    assert main(["weights", "inspect", str(tmp_path / "cut.params")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cut.params" in err
