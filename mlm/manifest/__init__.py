"""What a machine should have (`mlm.yaml`), and exactly which bytes that came to (`mlm.lock`)."""
