"""From the command line to plain objects: typed schema, `build`, identity of runs and arms, help and errors."""
