"""Rows of each table that each caller sees and changes, found by `rls-policy-tester`.

That checker is not ours and knows nothing of our tests. What it is to find is written by hand in `row_security.json`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from tests.sqlchecks.scratch import run
from tests.sqlchecks.tap import TESTS

EXPECTED = Path(__file__).with_suffix(".json")
ROWS = (TESTS / "rows.psql").read_text()
MORE_ROWS = """
insert into public.prompt_templates (name, prompt, user_id) values
  ('hers', 'a red fox', 'aaaaaaaa-0000-4000-8000-000000000001'),
  ('theirs', 'a secret', 'bbbbbbbb-0000-4000-8000-000000000002');
insert into public.user_rate_limits (user_id, daily_generations_count) values
  ('aaaaaaaa-0000-4000-8000-000000000001', 5), ('bbbbbbbb-0000-4000-8000-000000000002', 7);
insert into storage.objects (bucket_id, name) values
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/fox.png'),
  ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/secret.png');
"""
SECONDS = 60


def failures(dsn: str) -> list[str]:
    """One line for each expectation that is not met. It puts rows into the database and leaves them there."""
    run(dsn, ROWS + MORE_ROWS)
    command = [sys.executable, "-m", "rls_kit.cli", "--dsn", dsn, "--file", str(EXPECTED), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode not in (0, 1):
        return [f"rls-policy-tester ended with {done.returncode}: {done.stdout}{done.stderr}"]
    report = cast("dict[str, Any]", json.loads(done.stdout))
    found = [
        f"{line['id']}: {line['message']}"
        for suite in report["suites"]
        for line in (*suite["preflight"], *suite["checks"])
        if line["status"] not in ("PASS", "WARN")
    ]
    if done.returncode and not found:
        return [f"rls-policy-tester failed: {done.stdout}{done.stderr}"]
    return found
