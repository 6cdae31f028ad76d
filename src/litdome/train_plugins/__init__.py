"""Training plugins: the door they come in by, their runs, and the trainers that ship with litdome."""
