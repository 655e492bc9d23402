"""The errors of the dev stack.

DevstackError          one clear line: what happened, and what to do
  PortInUse            somebody else listens on the port
  DataDirInUse         another dev stack runs on this folder
  WrongDataVersion     the folder belongs to another Postgres version
  PostgresFailed       Postgres did not start
  NodeInstallFailed    the npm packages could not be installed
  LiteFailed           Supabase Lite did not start
  FunctionsFailed      the Edge Functions did not start
  MigrationFailed      a migration was refused by the database
  PartEnded            a part ended while the stack ran, and is not started again
"""


class DevstackError(Exception):
    """Anything that keeps the dev stack from running."""


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
