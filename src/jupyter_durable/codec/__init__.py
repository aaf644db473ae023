"""Values to bytes and back, without losing anything on the way."""
