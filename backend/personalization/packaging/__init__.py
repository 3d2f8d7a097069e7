"""Under which title, picture and preview a work is shown, and what was shown to whom."""
