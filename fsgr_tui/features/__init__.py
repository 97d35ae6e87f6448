"""The feature file: format, ledger, writer, reader and check. h5py and numpy; never torch."""
