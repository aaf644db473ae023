"""Runs being executed by this process: scopes, steps, leases, what changes by itself."""
