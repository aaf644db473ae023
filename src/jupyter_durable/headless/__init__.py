"""Notebooks as jobs, through nbclient."""
