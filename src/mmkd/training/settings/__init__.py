"""The recipe sections [pretrain] and [distill]."""
