"""Survival statistics: pure array functions on outcomes, risks and bootstrap weights that read and write no files."""
