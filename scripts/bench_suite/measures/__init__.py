"""The measures, one file each: a measure runs a system once, and returns the round's numbers."""
