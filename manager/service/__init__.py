"""Every verb of the product; the command line and the screens call nothing else."""
