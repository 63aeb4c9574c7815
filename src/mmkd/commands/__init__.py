"""The commands that need more than a recipe, one file for each group; `mmkd.cli` puts them together."""
