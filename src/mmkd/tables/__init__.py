"""Tables: text, JSON lines, Parquet and Arrow, read the same way for sources and for cards."""
