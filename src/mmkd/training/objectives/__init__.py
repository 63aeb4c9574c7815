"""What a stage minimises: compositions of pure losses, one file each; `table` names them."""
