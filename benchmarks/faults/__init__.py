"""What a cluster of several hosts does when parts of it die: the hosts, the faults, and a table of what survived."""
