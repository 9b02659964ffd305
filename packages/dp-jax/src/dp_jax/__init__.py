"""JAX backend of dp."""
