"""The application in the browser: slides, labelling, gates, runs and findings, each a room of its own."""
