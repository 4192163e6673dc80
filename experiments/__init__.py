"""What people run: one file per experiment, and the programs around them."""
