"""The artifact store: records of finished stages, leases on unfinished ones, and what nobody needs any more."""
