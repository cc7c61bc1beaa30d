"""Images, tables and splits; imports none of the other packages."""
