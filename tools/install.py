"""Install this project with the versions in constraints.txt: `python tools/install.py '.[devstack]'`.

Uses uv, which takes seconds, or pip if uv cannot be installed, fails, or lacks one of pip's settings. Progress is
printed only on a terminal. Needs only the standard library.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

CONSTRAINTS = "constraints.txt"
UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraints",
    "trusted-host": "--allow-insecure-host",
}
UV_VARIABLES = {"cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
IRRELEVANT_OPTIONS = {
    "config-file",
    "default-timeout",
    "disable-pip-version-check",
    "no-input",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "root-user-action",
    "timeout",
    "verbose",
}
Settings = Mapping[str, Sequence[str]]


def main(wanted: Sequence[str]) -> int:
    settings = pip_settings(_pip_config())
    if unknown := sorted(settings.keys() - UV_OPTIONS.keys() - UV_VARIABLES.keys() - IRRELEVANT_OPTIONS):
        _say(f"  Using pip, since uv lacks some of its settings: {', '.join(unknown)}")
    elif _has_uv() and _install_with_uv(settings, wanted):
        return 0
    return _pip("install", "-c", CONSTRAINTS, *_editable(wanted)).returncode


def pip_settings(listing: str) -> Settings:
    """Parse the output of `pip config list`, by option. Variables of the environment override files."""
    found: dict[str, tuple[int, list[str]]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section not in ("global", "install", ":env:"):
            continue
        rank = ("global", "install", ":env:").index(section)
        if option not in found or rank >= found[option][0]:
            found[option] = rank, str(ast.literal_eval(value)).split()
    return {option: values for option, (_, values) in found.items()}


def uv_command(settings: Settings, wanted: Sequence[str]) -> list[str]:
    """The command for uv, with pip's indexes and pip's strategy for several of them."""
    options = [
        part for name, option in UV_OPTIONS.items() for value in settings.get(name, ()) for part in (option, value)
    ]
    return [
        *(sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--no-python-downloads"),
        *("--index-strategy", "unsafe-best-match", "--constraints", CONSTRAINTS, *options, *_editable(wanted)),
    ]


def uv_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv; uv's own variables override pip's settings."""
    chosen = {variable: settings[name][0] for name, variable in UV_VARIABLES.items() if settings.get(name)}
    return {**chosen, **environment}


def _editable(wanted: Sequence[str]) -> list[str]:
    return [part for project in wanted for part in ("-e", project)]


def _has_uv() -> bool:
    return _pip("install", "--quiet", "-c", CONSTRAINTS, "uv", capture_output=True).returncode == 0


def _install_with_uv(settings: Settings, wanted: Sequence[str]) -> bool:
    """Install with uv and print its progress, but not its long list of installed packages."""
    process = subprocess.Popen(
        uv_command(settings, wanted),
        env=uv_environment(settings, os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    output: list[str] = []
    for line in process.stderr or ():
        output.append(line)
        if sys.stdout.isatty() and not line.startswith((" + ", " - ", " ~ ", "Using Python")):
            _say(f"  {line.strip()}")
    if process.wait():
        print("  uv failed, so pip is used:", *output, sep="\n  ", file=sys.stderr)  # noqa: T201
    return process.returncode == 0


def _pip_config() -> str:
    ran = _pip("config", "list", capture_output=True, text=True)
    return ran.stdout if ran.returncode == 0 else ""


def _pip(*arguments: str, **how: object) -> "subprocess.CompletedProcess[str]":
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [sys.executable, "-m", "pip", arguments[0], *(quiet if arguments[0] == "install" else ()), *arguments[1:]]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    return subprocess.run(command, check=False, env=environment, **how)  # type: ignore[call-overload,no-any-return]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
