"""The journal (JSONL) and what is made from it."""
