"""What people see of runs: rows, and later their display."""
