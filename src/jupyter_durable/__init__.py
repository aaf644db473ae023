"""Durable execution for agents that live in notebooks."""
