"""What a stage minimises: compositions of pure losses, one file each; `training.settings.tables` names them."""
