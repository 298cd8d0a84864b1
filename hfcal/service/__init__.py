"""What to install so that hfcal runs by itself: systemd units or a crontab line, as text."""
