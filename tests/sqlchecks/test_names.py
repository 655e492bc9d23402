"""Names of tests are short enough to be read aloud, and a long one is found."""

from pathlib import Path

from tests.sqlchecks import names


def test_no_name_of_a_test_is_too_long() -> None:
    assert names.findings() == []


def test_long_names_of_functions_and_files_are_found(tmp_path: Path) -> None:
    long, longest = "test_" + "x" * 76, "test_" + "y" * 75
    (tmp_path / "tests").mkdir()
    (tmp_path / "test_a.py").write_text(f"def {long}() -> None: ...\n    async def {longest}() -> None: ...\n")
    (tmp_path / "tests" / f"{long}.test.sql").touch()
    (tmp_path / "tests" / f"{longest}.test.sql").touch()

    found = names.findings(tmp_path, tmp_path)

    assert found == [
        f"test_a.py: {long} has 81 characters; a test's name has at most 80",
        f"{long}.test.sql: {long} has 81 characters; a test's name has at most 80",
    ]
