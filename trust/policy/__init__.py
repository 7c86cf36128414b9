"""A study judged by a charter before any row: decide, explain, and test."""
