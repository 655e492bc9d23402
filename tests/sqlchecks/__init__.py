"""What is checked in a database rather than in a file: lints, privileges, policies, types, and that tests notice."""
