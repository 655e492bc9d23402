"""The files of `supabase/schemas`, in the order of supabase/config.toml."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPABASE = ROOT / "supabase"


def schema_files(supabase: Path = SUPABASE) -> list[Path]:
    """Read `schema_paths` like the Supabase CLI: pattern by pattern, sorted, each file at its first match."""
    config = tomllib.loads((supabase / "config.toml").read_text())
    patterns: list[str] = config["db"]["migrations"]["schema_paths"]
    named = [file for pattern in patterns for file in sorted(supabase.glob(pattern.removeprefix("./")))]
    return list(dict.fromkeys(named))


def unnamed_files(supabase: Path = SUPABASE) -> list[str]:
    """Files that no pattern names, so that nobody would apply them."""
    missing = set((supabase / "schemas").rglob("*.sql")) - set(schema_files(supabase))
    return [
        f"{file.relative_to(supabase)}: no pattern of schema_paths in config.toml names it" for file in sorted(missing)
    ]
