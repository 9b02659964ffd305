"""The input file: sections, aliases, old forms, JSON schema."""
