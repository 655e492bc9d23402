"""The errors of the dev stack.

DevstackError          one line: what happened, and what to do
  PortInUse            another process listens on the port
  DataDirInUse         another dev stack runs on this folder
  WrongDataVersion     the folder belongs to another Postgres version
  PostgresFailed       Postgres did not start
  NodeInstallFailed    the npm packages could not be installed
  LiteFailed           Supabase Lite did not start
  FunctionsFailed      the Edge Functions did not start
  MigrationFailed      the database refused a migration
  PartEnded            a part ended while the stack ran, and is not restarted
"""


class DevstackError(Exception):
    """The dev stack cannot run."""


class PortInUse(DevstackError):
    pass


class DataDirInUse(DevstackError):
    pass


class WrongDataVersion(DevstackError):
    pass


class PostgresFailed(DevstackError):
    pass


class NodeInstallFailed(DevstackError):
    pass


class LiteFailed(DevstackError):
    pass


class FunctionsFailed(DevstackError):
    pass


class MigrationFailed(DevstackError):
    pass


class PartEnded(DevstackError):
    pass
