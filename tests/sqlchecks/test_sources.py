"""The checks of SQL as text find planted errors, and none in the repository."""

from pathlib import Path

from tests.sqlchecks import sources

FUNCTION = "create function public.f() returns integer language sql as $$\n{}\n$$;\n"


def test_no_file_has_a_finding() -> None:
    assert sources.findings() == []


def test_a_long_line_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.sql"
    file.write_text(f"select 1;\nselect '{'x' * 120}';\n")

    [line] = sources.long_lines([file])

    assert "a.sql:2: 130 characters; at most 120" in line


def test_a_function_that_is_defined_in_two_schema_files_is_found(tmp_path: Path) -> None:
    files = [tmp_path / "a.sql", tmp_path / "b.sql"]
    files[0].write_text(FUNCTION.format("select 1"))
    files[1].write_text(FUNCTION.format("select 2").replace("create", "create or replace"))

    [line] = sources.defined_twice(files)

    assert line.startswith("public.f: ")
    assert sources.defined_twice(files[:1]) == []


def test_a_function_created_twice_in_migrations_is_found_and_a_replaced_one_is_not(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.sql" for number in range(3)]
    files[0].write_text(FUNCTION.format("select 1"))
    files[1].write_text(FUNCTION.format("select 2"))
    files[2].write_text("drop function public.f();\n" + FUNCTION.format("select 3"))

    assert sources.created_twice(files[:2]) == ["public.f: created 2 times in migrations"]
    assert sources.created_twice([files[0], files[2]]) == []
    files[1].write_text(FUNCTION.format("select 2").replace("create", "create or replace"))
    assert sources.created_twice(files[:2]) == []


def test_a_long_function_needs_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.sql"
    file.write_text(FUNCTION.format("select 1\n" * 80))

    [line] = sources.long_functions([file])

    assert "public.f has 83 lines" in line
    file.write_text("-- Long because it is one query.\n" + FUNCTION.format("select 1\n" * 80))
    assert sources.long_functions([file]) == []


def test_a_header_of_another_form_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.sql"
    definition = FUNCTION.format("select 1")
    file.write_text(f"-- About the file.\n\n-- f()\n-- Answers.\n-- Caller: anybody.\n-- Locks: none.\n{definition}")
    assert sources.other_headers([file]) == []

    file.write_text(f"-- f()\n-- Errors: PT422.\n-- Caller: anybody.\n{definition}")
    [line] = sources.other_headers([file])
    assert "the header of public.f has not the order" in line

    file.write_text(f"-- Answers.\n{definition}")
    lines = sources.other_headers([file])
    assert [line.rpartition("public.f ")[2] for line in lines] == [
        "does not begin with -- f(…)",
        "does not say its caller",
    ]
