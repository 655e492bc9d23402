"""The wheel in another program: typed, licensed, with its version."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import batchgen

ROOT = Path(__file__).parents[2]

PROGRAM = """
from batchgen import BatchgenClient, BatchRequest, Prompt, __version__

async def run(client: BatchgenClient) -> None:
    reveal_type(await client.submit(BatchRequest(prompts=(Prompt(text="a fox"), Prompt(text="a bird")))))
    reveal_type(__version__)
    Prompt(text=7)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_contains_the_licence_and_py_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        [metadata] = [file.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]

    assert "batchgen/py.typed" in names
    assert "License-Expression: MIT\n" in metadata
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_type_checker_sees_the_types_of_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    python = installed(wheel, tmp_path / "venv")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python), str(program)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    messages = [found["message"] for found in json.loads(ran.stdout)["generalDiagnostics"]]

    assert (
        'Type of "await client.submit(BatchRequest(prompts=(Prompt(text="a fox"), Prompt(text="a bird"))))" is'
        in (messages[0])
    )
    assert '"CreatedBatch"' in messages[0]
    assert '"str"' in messages[1]
    assert '"Literal[7]" cannot be assigned to parameter "text" of type "str"' in " ".join(messages[2].split())
    assert len(messages) == 3


def test_the_version_is_read_from_the_package() -> None:
    assert batchgen.__version__ == version("batchgen")


def installed(wheel: Path, folder: Path) -> Path:
    """A Python with the wheel alone; its dependencies come from the environment of these tests."""
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"
