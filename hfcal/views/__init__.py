"""What people and programs see. The only package that knows rich; `documents` and `lines` don't."""
