"""Splits a file of SQL into its statements, the way the Supabase CLI records them."""

import re

# What may hold a semicolon that ends nothing: comments, quotes, dollar quotes. An E'' string may escape its quote.
TOKEN = re.compile(
    r"""
      (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<quoted>(?<![A-Za-z0-9_])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>(?<![A-Za-z0-9_])\$(?:[A-Za-z_][A-Za-z0-9_]*)?\$)
    | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)


def split_statements(sql: str) -> list[str]:
    """The statements of a file, without the semicolons between them; comments stay with what follows them."""
    statements: list[str] = []
    start = position = 0
    body = 0  # how deep inside `begin atomic … end`
    previous = ""
    while match := TOKEN.search(sql, position):
        position = match.end()
        if match["block"]:
            position = _end_of_block_comment(sql, position)
        elif match["dollar"]:
            closing = sql.find(match["dollar"], position)
            position = len(sql) if closing < 0 else closing + len(match["dollar"])
        elif match["word"]:
            word = match["word"].lower()
            body += _depth_change(previous, word, body)
            previous = word
        elif match["end"] and body == 0:
            statements.append(sql[start : match.start()].strip())
            start, previous = position, ""
    statements.append(sql[start:].strip())
    return [statement for statement in statements if _says_something(statement)]


def _depth_change(previous: str, word: str, body: int) -> int:
    if word == "atomic" and previous == "begin":
        return 1
    if body and word == "case":
        return 1
    return -1 if body and word == "end" else 0


def _end_of_block_comment(sql: str, position: int) -> int:
    depth = 1
    while depth and (mark := re.compile(r"/\*|\*/").search(sql, position)):
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return len(sql) if depth else position


def _says_something(statement: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip())
