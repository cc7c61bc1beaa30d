"""Numbers in, one HTML file out."""
