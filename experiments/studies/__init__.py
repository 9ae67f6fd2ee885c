"""What measures this repository: benchmarks, the papers' claims, the results on digits, their pages."""
