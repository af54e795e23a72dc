"""The command line: help, version, exit messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from gaussiancross.app import cli
from gaussiancross.core.errors import InputError
from rich.console import Console

pytestmark = pytest.mark.usefixtures("own_cache")


QUIET = Console(quiet=True)


class TestMain:
    def test_help_needs_no_torch(self):
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from gaussiancross.app.cli import main; status = main(['--help'])\n"
            "assert not {'numpy', 'tyro', 'rich', 'viser'} & set(sys.modules); sys.exit(status)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in cli.COMMANDS)

    def test_doctor_needs_no_torch(self):
        code = (
            "import sys; sys.modules['torch'] = None; from gaussiancross.app.cli import main\n"
            "sys.exit(main(['doctor', '--json']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stderr
        checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
        assert checks["torch"]["state"] == "fail" and "install" in checks["torch"]["fix"]
        assert checks["viser"]["state"] == "ok"

    @pytest.mark.parametrize("name", cli.COMMANDS)
    def test_every_command_has_help(self, name, capsys):
        try:
            status = cli.main([name, "--help"])
        except SystemExit as end:
            status = end.code
        assert status == 0
        assert f"gaussiancross {name}" in capsys.readouterr().out

    def test_a_closed_pipe_is_no_error_message(self):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as closed:
            command = [sys.executable, "-m", "gaussiancross", "pretrain", "tiny", "--help"]
            done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 1 and not done.stderr

    def test_version(self, capsys):
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("gaussiancross 0.")

    def test_unknown_command(self, capsys):
        assert cli.main(["trian"]) == 2
        out = capsys.readouterr()
        assert out.out == "" and "pretrain" in out.err and out.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (InputError("x.ply", "points", "none"), 2, "x.ply: expected points, found none.\n"),
            (PermissionError(13, "Permission denied", "x.ply"), 1, "x.ply: Permission denied\n"),
            (KeyboardInterrupt(), 130, "Interrupted.\n"),
            (ModuleNotFoundError("No module named 'viser'", name="viser"), 2, "doctor"),
        ],
    )
    def test_expected_ends_are_one_sentence(self, error, status, said, monkeypatch, capsys):
        def main(args):
            raise error

        monkeypatch.setattr("gaussiancross.app.commands.doctor.main", main)
        assert cli.main(["doctor"]) == status
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err and err.count("\n") == 1

    def test_a_traceback_on_demand(self, monkeypatch, capsys):
        def main(args):
            assert args == ["--json"]
            raise InputError("x.ply", "points", "none")

        monkeypatch.setattr("gaussiancross.app.commands.doctor.main", main)
        assert cli.main(["doctor", "--traceback", "--json"]) == 2
        err = capsys.readouterr().err
        assert "Traceback" in err and "in main" in err and err.endswith("x.ply: expected points, found none.\n")

    def test_bugs_keep_their_traceback(self, monkeypatch):
        monkeypatch.setattr("gaussiancross.app.commands.doctor.main", lambda args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.main(["doctor"])
