"""Metrics under bootstrap weights, intervals and paired tests: pure array functions that read and write no files."""
