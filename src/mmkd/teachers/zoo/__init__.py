"""One TOML file of facts per public teacher; read by `mmkd.teachers.zoo.entry`."""
