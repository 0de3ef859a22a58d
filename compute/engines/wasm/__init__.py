"""The engine that runs WebAssembly modules, each in a process forked from a helper that has the runtime loaded."""
