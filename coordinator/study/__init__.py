"""One study carried out: conducted, replayed after a crash, released."""
