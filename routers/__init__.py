"""HTTP only: requests in, answers and frames out."""
