"""Weight-stationary systolic array engine."""
