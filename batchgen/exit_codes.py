"""Exit codes of the commands (docs/commands.md)."""

DONE = 0
WORK_FAILED = 1
"""A batch or an item failed, or a part of the dev stack ended by itself."""
INVALID = 2
"""Wrong usage, invalid settings, or a refused request."""
UNREACHABLE = 3
"""The backend cannot be reached."""
BROKEN = 70
"""A bug in batchgen."""
INTERRUPTED = 130
"""Ctrl-C."""
UNREAD = 141
"""The reader of the output closed the pipe."""
