"""For whoever types: the command line."""
