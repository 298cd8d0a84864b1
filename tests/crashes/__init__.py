"""hfcal killed, or its disk failing, at each step that changes something outside of the process."""
