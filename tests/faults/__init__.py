"""What tchat promises about faults, and the runs that show it."""
