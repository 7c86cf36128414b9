"""From a partner's table to the rows of a study."""
