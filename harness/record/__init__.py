"""What a run leaves behind: records and their schema, run folders, the catalogue, fingerprints."""
