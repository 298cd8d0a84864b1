"""What hfcal remembers between runs: the file, its codec, group commit, the agents' locks."""
