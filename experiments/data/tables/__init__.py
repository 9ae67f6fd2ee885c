"""Tables: files with a row for each example, and how their columns become numbers."""
