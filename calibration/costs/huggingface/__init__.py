"""Models as Hugging Face's config.json describes them."""
