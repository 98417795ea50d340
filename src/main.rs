//! The `tidegate` binary: everything it does lives in the library.
fn main() {}
