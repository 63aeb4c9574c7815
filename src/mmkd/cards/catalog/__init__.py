"""The data-set cards that ship with mmkd: one TOML file each, facts and prompts only."""
