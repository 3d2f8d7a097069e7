"""Who may be shown a work at all."""
