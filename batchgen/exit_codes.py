"""How a command ends, for whoever started it (docs/commands.md)."""

DONE = 0
WORK_FAILED = 1
"""A batch, an item or a part of the stack ended otherwise than was asked."""
INVALID = 2
"""Wrong usage, wrong settings, or a request that is refused."""
UNREACHABLE = 3
"""The backend does not answer."""
BROKEN = 70
"""A fault of batchgen itself."""
INTERRUPTED = 130
UNREAD = 141
"""Whoever read the output has closed it."""
