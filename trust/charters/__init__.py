"""Charters and partner policies as they are written, in Cedar; the ready ones are in its folders."""
