"""The Jupyter Server extension: REST and the event stream."""
