"""What is done with learngenes: models of any size, one or many, fitted and scored; lineage, cards and migration."""
