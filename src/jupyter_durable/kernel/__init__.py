"""The IPython side: the cell magic, identity of code, snapshots of the namespace."""
