"""Reading the header of a GGUF file, wherever the file is."""
