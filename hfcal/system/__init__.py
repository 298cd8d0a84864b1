"""What hfcal needs of the operating system: files, owners, locks."""
