"""Checks in databases: lints, privileges, policies, types, and mutants of the schema."""
