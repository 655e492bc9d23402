"""The documents agree with the code."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from batchgen.cli.app import app
from batchgen.settings import Settings, WorkerSettings

ROOT = Path(__file__).parents[2]
SETTINGS = {**Settings.model_fields, **WorkerSettings.model_fields}


def variable(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return f"BATCHGEN_{name}".upper()


def shown(default: object) -> str:
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = SETTINGS[name]
    text = (ROOT / "docs/settings.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{variable(name, field)}` |")]
    default, _ = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert field.description
    assert f"- `{variable(name, field)}`: {field.description}" in " ".join(text.split())
    if not field.is_required() and field.default is not None:
        assert default.strip("`") == shown(field.default)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_in_the_example_file(name: str) -> None:
    field = SETTINGS[name]
    default = "" if field.is_required() or field.default is None else shown(field.default)

    example = (ROOT / ".env.example").read_text()

    assert re.search(rf"^(# )?{variable(name, field)}={re.escape(default)}$", example, re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("deploy/batchgen-worker.service", r"^TimeoutStopSec=(\d+)$"),
        ("Dockerfile", r"--stop-timeout (\d+)"),
        ("Dockerfile", r"terminationGracePeriodSeconds: (\d+)"),
        ("docs/operations.md", r"--stop-timeout (\d+)"),
        ("docs/operations.md", r"terminationGracePeriodSeconds: (\d+)"),
    ],
)
def test_stop_timeouts_exceed_the_grace_time_by_fifteen_seconds(file: str, pattern: str) -> None:
    given = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)

    assert given
    assert all(int(seconds) >= WorkerSettings.model_fields["grace_seconds"].default + 15 for seconds in given)


def test_every_command_is_documented() -> None:
    commands = set(typer.main.get_group(app).commands)  # pyright: ignore[reportUnknownMemberType]

    documents = "".join((ROOT / file).read_text() for file in ("README.md", "docs/operations.md", "docs/commands.md"))

    assert {command for command in commands if f"batchgen {command}" not in documents} == set()


def test_every_dependency_has_a_documented_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["devstack"],
        *project["optional-dependencies"]["dev"],
    ]
    names = {re.split(r"[\[<>=]", line)[0] for line in wanted} - {"batchgen", "squawk-cli"}

    text = (ROOT / "docs/dependencies.md").read_text()

    assert {name for name in names if name not in text} == set()


def test_every_relative_link_in_the_docs_resolves() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_link_to_a_section_leads_to_a_heading() -> None:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("**/*.md")]
    sections = {document: headings(document.read_text()) for document in documents}

    for document in documents:
        for target, section in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            linked = (document.parent / target).resolve() if target else document
            assert section in sections[linked], f"{document.name} links to {target}#{section}"


def headings(text: str) -> set[str]:
    """The sections of a document, named as GitHub names them in links."""
    without_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_test_named_in_failure_modes_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/failure-modes.md").read_text()))

    written = "".join(file.read_text() for file in (ROOT / "tests").glob("*/**/test_*.py"))

    assert {test for test in named if f"def {test}(" not in written} == set()


def test_every_file_named_in_the_architecture_exists() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    files = re.findall(
        r"`((?:scheduler|cli|client|queue|pictures|providers|backend|imaging)/[a-z0-9_/]*(?:\.py)?)`", text
    )

    assert len(files) > 20
    assert [file for file in files if not any((ROOT / folder / file).exists() for folder in ("", "batchgen"))] == []
