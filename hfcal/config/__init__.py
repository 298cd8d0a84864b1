"""The settings: what they may be, where they come from, and the file they stand in."""
