"""Where networks run, in what arithmetic, and the one loop that shows them patches."""
