"""Many runs: statistics, report, plots and TensorBoard aggregates. Reads run directories only; imports no torch."""
