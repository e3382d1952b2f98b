"""What a home holds, what of it is still of use, and taking the rest away."""
