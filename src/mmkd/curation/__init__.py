"""The stage curate: from sources to a corpus, with an account of every record."""
