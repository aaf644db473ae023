"""Pure decisions: what the journal says about the next call. No I/O, no IPython, no SQLite."""
