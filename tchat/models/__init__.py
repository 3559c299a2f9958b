"""Model files: where they are, what they hold, whether they load and fit, and downloads."""
