"""The console, which all commands share: options, errors, output, progress, completion."""
