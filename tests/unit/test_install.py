"""tools/install.py looks for packages where pip would."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "tools" / "install.py"


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pip_settings_become_uv_options(install: ModuleType) -> None:
    settings = install.pip_settings(
        "global.index-url='https://pip.example/simple'\n"
        "global.extra-index-url='https://more.example/simple\\nfile:///opt/more'\n"
        "install.find-links='/opt/wheels'\n"
        "global.trusted-host='pip.example'\n"
        "global.cert='/etc/ssl/own.pem'\n"
        "list.format='columns'\n"
    )

    command = install.uv_command(settings, [".[dev]"])
    given = " ".join(command)

    assert command[:3] == [sys.executable, "-m", "uv"]
    assert "--default-index https://pip.example/simple" in given
    assert "--index https://more.example/simple --index file:///opt/more" in given
    assert "--find-links /opt/wheels" in given
    assert "--allow-insecure-host pip.example" in given
    assert given.endswith("-e .[dev]")
    assert install.uv_environment(settings, {})["SSL_CERT_FILE"] == "/etc/ssl/own.pem"


def test_environment_variables_win_over_pip_files(install: ModuleType) -> None:
    settings = install.pip_settings(
        ":env:.index-url='https://env.example/simple'\n"
        "global.index-url='https://file.example/simple'\n"
        "install.index-url='https://install.example/simple'\n"
    )

    assert settings == {"index-url": ["https://env.example/simple"]}


def test_uvs_own_certificate_variable_is_kept(install: ModuleType) -> None:
    environment = install.uv_environment({"cert": ["/etc/ssl/pip.pem"]}, {"SSL_CERT_FILE": "/etc/ssl/uv.pem"})

    assert environment["SSL_CERT_FILE"] == "/etc/ssl/uv.pem"


@pytest.mark.parametrize("listing", ["global.no-index='true'\n", "global.client-cert='/etc/client.pem'\n"])
def test_pip_installs_when_uv_cannot_follow_its_settings(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, listing: str
) -> None:
    ran = watch_pip(install, monkeypatch, listing)

    assert install.main([".[dev]"]) == 0
    assert ran == [["install", "-c", "constraints.txt", "-e", ".[dev]"]]


def test_pip_installs_when_uv_is_unavailable(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watch_pip(install, monkeypatch, "", refused="uv")

    assert install.main([".[dev]"]) == 0
    assert ran == [
        ["install", "--quiet", "-c", "constraints.txt", "uv"],
        ["install", "-c", "constraints.txt", "-e", ".[dev]"],
    ]


def watch_pip(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, listing: str, refused: str | None = None
) -> list[list[str]]:
    """The calls of pip that would install something; `config list` prints `listing`."""
    ran: list[list[str]] = []

    def pip(*arguments: str, **_: object) -> object:
        if arguments[0] == "install":
            ran.append(list(arguments))
        return type("Ran", (), {"returncode": int(arguments[-1] == refused), "stdout": listing})

    monkeypatch.setattr(install, "_pip", pip)
    return ran


FAKE_UV = """
import sys
print("Downloading pillow (6.8MiB)", " + pillow==13.0.0", sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize(("on_a_terminal", "expected"), [(True, "  Downloading pillow (6.8MiB)"), (False, "")])
def test_install_progress_is_shown_only_on_a_terminal(tmp_path: Path, on_a_terminal: bool, expected: str) -> None:
    (tmp_path / "uv.py").write_text(FAKE_UV)
    (tmp_path / "pip.py").write_text("")  # has no settings, and has uv already
    ours, theirs = os.openpty() if on_a_terminal else os.pipe()

    command = [sys.executable, str(FILE), "."]
    subprocess.run(command, stdout=theirs, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True)
    os.write(theirs, b"the end\n")
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert shown.replace("\r\n", "\n").removesuffix("the end\n").rstrip("\n") == expected
