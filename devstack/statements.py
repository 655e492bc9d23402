"""Split a SQL file into its statements, as the Supabase CLI records them."""

import re

# Comments, quotes and dollar quotes may contain semicolons. An E'' string may escape its quote.
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
    """The statements without their semicolons. A comment belongs to the statement after it."""
    statements: list[str] = []
    start = position = 0
    body = 0  # depth inside `begin atomic … end`
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
    return [statement for statement in statements if _is_not_only_comments(statement)]


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


def _is_not_only_comments(statement: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip())
