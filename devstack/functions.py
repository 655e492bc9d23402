"""Edge Functions in a child process: Deno with `supabase/functions` and only the permissions that they need."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devstack.errors import FunctionsFailed
from devstack.loopback import LoopbackServer, Program

SERVER = Path(__file__).parent / "deno" / "serve.ts"
SANDBOX = ("--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--quiet")


@dataclass(frozen=True)
class FunctionsConfig:
    """`deno_dir` is Deno's cache."""

    folder: Path
    url: str
    publishable_key: str
    deno_dir: Path


class FunctionsServer(LoopbackServer):
    def __init__(self, deno: Path, config: FunctionsConfig, log_file: Path) -> None:
        env = _environment(config)
        command = [str(deno), "run", *SANDBOX, *_permissions(config), str(SERVER)]
        super().__init__(Program("Deno", FunctionsFailed, command, env, config.folder, log_file))
        self._folder = config.folder

    async def start(self) -> None:
        """Load all functions and serve them. Later changes to their files need a restart."""
        await self.serve({"folder": self._folder})


def default_functions_dir() -> Path:
    """The folder in the checkout, or its copy in an installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "supabase" / "functions"
    return checkout if checkout.is_dir() else package / "functions_ts"


def _permissions(config: FunctionsConfig) -> list[str]:
    """To listen, to connect to the stack, to read the functions, and to read the variables of hosted functions."""
    return [
        f"--allow-net=127.0.0.1:0,{urlsplit(config.url).netloc}",
        f"--allow-read={str(config.folder).replace(',', ',,')}",  # Deno's escape for a comma within a path
        f"--allow-env={','.join(_settings(config))}",
    ]


def _settings(config: FunctionsConfig) -> dict[str, str]:
    return {
        "SUPABASE_URL": config.url,
        "SUPABASE_ANON_KEY": config.publishable_key,
        "SUPABASE_PUBLISHABLE_KEYS": f'{{"default":"{config.publishable_key}"}}',
    }


def _environment(config: FunctionsConfig) -> dict[str, str]:
    """Nothing of this process's environment, and no telemetry."""
    return {
        "PATH": os.defpath,
        "TZ": "UTC",
        "NO_COLOR": "1",
        "DENO_DIR": str(config.deno_dir),
        "DENO_NO_UPDATE_CHECK": "1",
        **_settings(config),
    }
