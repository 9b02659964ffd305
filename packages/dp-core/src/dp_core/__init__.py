"""Deep potentials: models, format, data and training, written once in array-API code."""
