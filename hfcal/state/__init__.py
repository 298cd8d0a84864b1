"""What hfcal remembers between runs: the records, the file, the locks."""
