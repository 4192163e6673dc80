"""Remedies for the vanishing gradient that compose with any cell: Cell -> Cell, and terms of the loss."""
