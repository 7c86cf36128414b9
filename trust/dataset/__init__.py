"""The shared description of rows: columns, cohorts, expressions, and rows as arrays."""
