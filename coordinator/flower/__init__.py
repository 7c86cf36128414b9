"""All that touches Flower at the coordinator."""
