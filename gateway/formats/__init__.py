"""Wire dialects: bytes in, intents, events and usage out. Pure and sans-I/O: any chunking, same result."""
