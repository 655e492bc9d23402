"""The only room that knows supabase-py: the connection, calls of SQL functions, and the bucket."""
