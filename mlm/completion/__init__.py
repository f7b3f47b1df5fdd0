"""What a shell is offered on a Tab. It imports next to nothing: somebody waits with a finger up."""
