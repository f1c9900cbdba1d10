"""What patches look like, in numbers: colour and texture without a network, and what the stored classifier sees."""
