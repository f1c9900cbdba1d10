import os
import subprocess
import sys

import pytest

from wsss_mm.cli import doctor
from wsss_mm.cli.main import build_parser, main
from wsss_mm.errors import InputError

COMMANDS = ["segment", "profile", "data", "models", "report", "reproduce", "weights", "doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        build_parser().parse_args([command, "--help"])
    assert exit_.value.code == 0
    assert "usage: wsss-mm" in capsys.readouterr().out


def test_an_input_error_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["profile", "slides", "--source", str(tmp_path / "none"), "--params", str(tmp_path / "p.yaml")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert str(tmp_path / "none") in captured.err
    assert not (tmp_path / "p.yaml").exists()


def test_the_command_line_imports_nothing_heavy():
    heavy = {"torch", "mmengine", "mlflow", "great_expectations", "pandas"}
    code = f"import sys, wsss_mm.cli.main; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("argv", [["--quiet", "doctor"], ["doctor", "--quiet"]])
def test_quiet_goes_before_or_after_the_command(argv):
    assert build_parser().parse_args(argv).quiet
    assert not build_parser().parse_args(["doctor"]).quiet


def test_ctrl_c_is_one_line_and_exit_code_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("wsss_mm.cli.doctor._python", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "wsss-mm: interrupted; the same command goes on where it stopped\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "dvc.lock",
            "schema: '2.0'\n<<<<<<< HEAD\nstages: {}\n=======\nstages: {a: 1}\n>>>>>>> x\n",
            "line 2: a merge",
        ),
        ("dvc.lock", "stages: [\n", "not valid YAML: .*line 2"),
        ("dvc.yaml", "<<<<<<< HEAD\n", "line 1: a merge"),
    ],
)
def test_doctor_sees_a_merge_that_stopped_half_way(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"^{name}: {says}"):
        doctor._lock()


def run(*arguments, stdout, **environment):
    command = [sys.executable, "-m", "wsss_mm.cli.main", *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=os.environ | environment, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "codes"), [(["segment", "--help"], (0, 141)), (["quarantine", "list", "--list", "none.csv"], (141,))]
)
def test_a_reader_who_has_gone_is_no_error(arguments, codes):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, error = run(*arguments, stdout=writing)
        assert code in codes  # argparse itself may pass over it
        assert error == ""
    finally:
        os.close(writing)


def test_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        code, error = run("quarantine", "list", "--list", "none.csv", stdout=full)
    assert code == 2
    assert error.count("\n") == 1
    assert "No space left" in error


def test_what_the_terminal_has_no_letters_for_is_spelled_out(tmp_path):
    (tmp_path / "M\u00fcller").mkdir()
    (tmp_path / "M\u00fcller/slides.csv").touch()
    params = ["--source", str(tmp_path / "M\u00fcller"), "--params", str(tmp_path / "params.yaml")]
    code, error = run("profile", "slides", *params, stdout=subprocess.DEVNULL, PYTHONIOENCODING="ascii")
    assert (code, error) == (0, "")


def test_a_folder_that_is_no_utf8_is_one_line(tmp_path, capsys):
    (tmp_path / "M\udcfcller").mkdir()
    params = ["--source", str(tmp_path / "M\udcfcller"), "--params", str(tmp_path / "params.yaml")]
    assert main(["profile", "slides", *params]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "M\\udcfcller: not UTF-8" in error
    assert not (tmp_path / "params.yaml").exists()


def test_a_connection_that_breaks_is_an_error(monkeypatch, capsys):
    def broken(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(doctor, "_handle", broken)
    assert main(["doctor"]) == 2
    assert "Broken pipe" in capsys.readouterr().err
