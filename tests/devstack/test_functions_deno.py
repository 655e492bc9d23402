"""The functions by themselves: Deno's own formatter, linter, type checker and tests, with the stack's own Deno."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from devstack.functions import SERVER

FUNCTIONS = Path(__file__).parents[2] / "supabase" / "functions"
NOTHING_FROM_OUTSIDE = ("--no-config", "--no-lock", "--no-remote", "--no-npm")
RIGHTS = (
    "--no-prompt",
    "--allow-net=127.0.0.1",
    "--allow-env=SUPABASE_URL,SUPABASE_ANON_KEY,SUPABASE_PUBLISHABLE_KEYS",
)
SECONDS = 100


@pytest.mark.parametrize(
    "arguments",
    [
        ("fmt", "--check", "--no-config", "--line-width", "120"),
        ("lint", "--no-config"),
        ("check", *NOTHING_FROM_OUTSIDE),
    ],
    ids=["format", "lint", "types"],
)
async def test_deno_format_lint_and_types_pass(deno: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, output = await asyncio.to_thread(run, deno, tmp_path, [*arguments, str(FUNCTIONS), str(SERVER)])

    assert code == 0, output


async def test_the_functions_pass_their_own_tests(deno: Path, tmp_path: Path) -> None:
    code, output = await asyncio.to_thread(
        run, deno, tmp_path, ["test", *NOTHING_FROM_OUTSIDE, *RIGHTS, str(FUNCTIONS)]
    )

    assert code == 0, output
    assert " passed | 0 failed" in output


def run(deno: Path, deno_dir: Path, arguments: list[str]) -> tuple[int, str]:
    env = {"PATH": os.defpath, "DENO_DIR": str(deno_dir), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [str(deno), *arguments], cwd=FUNCTIONS, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.returncode, done.stdout + done.stderr
