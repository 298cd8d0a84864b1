"""What hfcal costs, against what the same work costs without it; run by `make bench`."""
