"""Descriptors: one file each."""
