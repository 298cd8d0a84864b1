"""What people and programs see. The only rooms that know rich; `documents` and `lines` don't."""
