"""Data sets as cards describe them: from TOML, tables and pictures to samples."""
