"""What people do in the browser: labelling."""
