r"""What runs in a worker, beside an imported scheduler; each file is a script or its neighbour."""
