"""What runs programs: the interpreter, the random engine, the runtime."""
