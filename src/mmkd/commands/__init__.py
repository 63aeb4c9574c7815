"""The commands, one file for each group; `mmkd.cli` collects them."""
