"""Fittings: from the descriptor of an atom to its property, one file each."""
