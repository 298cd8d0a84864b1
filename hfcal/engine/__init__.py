"""The passes: a tick over every agent, an agent's command, and the watch that repeats ticks."""
