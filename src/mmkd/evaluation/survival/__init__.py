"""What the survival task is made of: patients, risks, curves."""
