"""The models that mlm knows, each figure with its source."""
