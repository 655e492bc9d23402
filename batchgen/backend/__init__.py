"""Access to Supabase: the connection, calls of SQL functions, and the bucket."""
