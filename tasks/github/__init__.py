"""GitHub: which releases exist, which commit they mean, and whether its checks passed."""
