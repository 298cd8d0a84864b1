"""Waking agents: the message, and one small module per way to deliver it."""
