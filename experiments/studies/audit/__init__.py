"""What the audit finds, what its numbers mean, and what other tools find."""
