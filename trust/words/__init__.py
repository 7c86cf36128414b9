"""How things are said: catalogues in English and French, safe texts, pages of lines."""
