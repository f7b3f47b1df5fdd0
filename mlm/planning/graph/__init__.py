"""What llama.cpp computes for one batch, and how much memory that takes."""
