"""The dp command."""
