"""Models, data sets and the Space, to the Hugging Face Hub."""
