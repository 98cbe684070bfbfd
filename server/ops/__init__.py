"""What operators and their tools look at: health, metrics, audit, console; and the reconciler."""
