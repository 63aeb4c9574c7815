"""The stage evidence: what teachers see of the modality of each picture."""
