"""Small simulated tiles with truth, and the thresholds that validation holds the detector to."""
