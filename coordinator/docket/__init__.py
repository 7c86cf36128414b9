"""Studies on file, the register, and the database that holds both."""
