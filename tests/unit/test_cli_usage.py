"""The command line without a backend: wrong usage, help, version."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import batchgen
from batchgen.cli.app import main
from batchgen.client.ids import LOOK_UP


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BATCHGEN_ENV_FILE", "BATCHGEN_USER", "SUPABASE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "\x1b[31mabc"], "invalid_id"),
        (["cancel", "\x1b[31mabc"], "invalid_id"),
        (["delete", "abc", "--yes"], "invalid_id"),
        (["delete", "5f0c6d0e-0000-0000-0000-000000000000"], "confirmation_missing"),
        (["tag", "5f0c6d0e-0000-0000-0000-000000000000"], "wrong_usage"),
        (["retry", "5f0c6d0e-0000-0000-0000-000000000000", "--prompt", "a fox"], "item_missing"),
        (["submit"], "prompts_missing"),
        (["submit", "a", "--file", "x"], "prompts_missing"),
        (["submit", "--file", "missing.txt"], "unreadable"),
        (["submit", "--json-file", "broken.json"], "invalid_json"),
        (["submit", "--file", "latin1.txt"], "invalid_encoding"),
        (["submit", "a", "b", "--width", "wide"], "wrong_usage"),
        (["list", "--limit", "0"], "wrong_usage"),
        (["lists"], "wrong_usage"),
        (["--env-file", "missing.env", "list"], "no_env_file"),
        (["login", "--password-stdin"], "email_missing"),
        (["login"], "password_missing"),
        (["list"], "not_signed_in"),
        (["delete", "latest", "--yes"], "not_signed_in"),
        (["show", "abc"], "invalid_id"),
        (["show", "5f0c6d0e-0000-0000-0000-000000000000-1"], "invalid_id"),
        (["watch", "5f0c-6d0e"], "invalid_id"),
        (["models", "--all"], "key_missing"),
        (["workers"], "key_missing"),
        (["costs"], "key_missing"),
        (["storage", "check"], "key_missing"),
        (["list", "--user", "somebody"], "key_missing"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_code_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: str
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "latin1.txt").write_bytes(b"gr\xfcn")

    exit_code = main([*arguments, "--json"])

    out, err = capsys.readouterr()
    assert (exit_code, out) == (2, "")
    assert json.loads(err)["error"]["code"] == code


def test_an_error_is_printed_with_its_remedy_and_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "\x1b[31m[bold]x"]) == 2

    error = capsys.readouterr().err.splitlines()
    assert error == ["Error: \\x1b[31m[bold]x is not a batch id.", LOOK_UP]


def test_invalid_settings_are_named_without_their_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "secret-value")

    assert main(["list"]) == 2

    error = capsys.readouterr().err
    assert "SUPABASE_URL" in error
    assert "secret-value" not in error


def test_an_unreachable_backend_exits_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_not-to-be-seen")

    assert main(["list", "--operator", "--json"]) == 3

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "backend_unavailable"
    assert "not-to-be-seen" not in err


def test_an_unexpected_exception_exits_with_70(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("batchgen.settings.load", broken)

    assert main(["list"]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "option"), [("worker", "--once"), ("dev", "--data-dir"), ("submit", "--save-to")])
def test_every_command_shows_its_own_options(capsys: pytest.CaptureFixture[str], command: str, option: str) -> None:
    try:
        code = main([command, "--help"])
    except SystemExit as ended:  # argparse ends by itself
        code = ended.code

    assert code in (0, None)
    assert option in capsys.readouterr().out


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("batchgen 0.")


@pytest.mark.parametrize("arguments", [[], ["storage"]])
def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0

    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: batchgen {' '.join(arguments)}")
    assert "\nCommands:\n" in out
    assert err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--version"], ["--help"], ["submit", "--help"], ["storage", "check", "--help"]),
        *(
            ["nonsense"],
            ["list", "--no"],
            ["list", "--limit", "many"],
            ["show"],
            ["show", "no-id"],
            ["costs", "--by", "colour"],
        ),
        *(["submit", "--file", "no-such-file"], ["--env-file", "no-such-file", "list"], ["submit"], ["tag", "latest"]),
        *(["worker", "--help"], ["worker", "--max-seconds", "5"], ["worker", "--env-file", "no-such-file"]),
        *(["dev", "--help"], ["dev", "--port", "none"]),
    ],
)
def test_version_help_and_wrong_usage_load_no_heavy_library(arguments: list[str]) -> None:
    code = f"""
import sys
from batchgen.cli.app import main
from batchgen.client.ids import LOOK_UP
try:
    main({arguments!r})
except SystemExit:
    pass
print(sorted({{"supabase", "pydantic_settings", "httpx", "PIL"}} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == "[]"


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(batchgen, name).__name__ == name for name in batchgen.__all__ if name != "__version__")
    with pytest.raises(AttributeError):
        _ = batchgen.nothing  # pyright: ignore[reportAttributeAccessIssue]


def _dotted(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}." for name in names)


@pytest.mark.parametrize("code", ["import batchgen", "from batchgen import *"])
def test_importing_batchgen_loads_nothing_of_the_worker(code: str) -> None:
    batchgen_rooms = ("queue", "providers", "pictures", "cli")
    strangers = (*(f"batchgen.{room}" for room in batchgen_rooms), "scheduler", "devstack", "PIL")
    code += f"\nimport sys; print([name for name in sys.modules if (name + '.').startswith({_dotted(strangers)!r})])"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"


INTERRUPTED_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from batchgen.__main__ import main
sys.exit(main())
"""


def test_an_interrupt_during_start_prints_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_interrupt_at_the_password_prompt_exits_with_130() -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "batchgen", "login", "--email", "a@example.test"]
    process = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr
    try:
        assert process.stderr.read(len("Password")) == b"Password"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 130
    assert b"Traceback" not in rest
