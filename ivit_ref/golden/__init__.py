"""Golden vectors: cases that are written once, confirmed twice, checksummed, and read by people and by every backend."""
