"""Who hands out a stage's units of work: processes of this machine, or an engine that has many machines."""
