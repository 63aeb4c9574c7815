"""mmkd from Python: a loaded model, runs and their stages, results as tables and plots."""
