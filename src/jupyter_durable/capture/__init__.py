"""Instruments: one module for each kind of call that becomes a step."""
