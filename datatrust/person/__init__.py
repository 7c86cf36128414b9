"""What a person keeps on her own machine: pins and the key."""
