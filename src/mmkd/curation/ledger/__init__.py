"""The ledger: the account of all records, in the corpus or not and why, read from its folder batch by batch."""
