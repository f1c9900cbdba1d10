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
        ("dvc.lock", "stages: [\n", "no YAML"),
        ("dvc.yaml", "<<<<<<< HEAD\n", "line 1: a merge"),
    ],
)
def test_doctor_sees_a_merge_that_stopped_half_way(tmp_path, monkeypatch, name, content, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"^{name}: {says}"):
        doctor._lock()
