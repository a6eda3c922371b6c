"""What only notebooks need: figures, self-checks for exercises, a search box, marked sentences, versions."""
