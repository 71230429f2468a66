"""The benchmark: fixed sets of micrographs, rivals, oracles, one table for any model."""
