"""The check of Markdown finds long lines, and none in the documents as they are."""

from pathlib import Path

from tests.sqlchecks import markdown


def test_no_line_of_the_documents_is_too_long() -> None:
    assert markdown.findings() == []


def test_a_long_line_is_found_in_prose_tables_and_code(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text(f"{'a' * 121}\n\n| {'b' * 117} |\n\n```\n{'c' * 122}\n{'d' * 120}\n```\n")

    found = markdown.findings(tmp_path)

    assert [line.split("docs/")[1].split(";")[0] for line in found] == [
        "a.md:1: 121 characters",
        "a.md:3: 121 characters",
        "a.md:6: 122 characters",
    ]


def test_documents_of_installed_packages_are_not_read(tmp_path: Path) -> None:
    for folder in (".venv", "node_modules"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text("a" * 121)

    assert markdown.findings(tmp_path) == []
