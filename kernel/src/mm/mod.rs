//! Memory: frames, the heap, address spaces, and the one way to touch a program's memory.
