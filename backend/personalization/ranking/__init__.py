"""From a person's past and the works to a slate with its reasons: signals, taste, score, variety. Pure arithmetic."""
