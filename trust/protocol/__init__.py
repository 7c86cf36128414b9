"""A study between coordinator and nodes: what is asked, and the bytes of messages."""
