"""Talking to the backend: its calls, the threads that make them, and when to stop asking."""
