"""What single operations cost, and what follows for a fleet: the measured part of docs/scale.md."""
