"""Train and examine LoRA candidates. The only packages with torch are this one and what calls it."""
