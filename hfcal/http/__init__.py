"""Bounded HTTP: the only package that knows an HTTP library."""
