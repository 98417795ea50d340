//! The real client before a hostile registry, and before real ones. Which case is in which test: [`matrix`].

mod answers;
mod conformance;
mod evidence;
mod habits;
mod lists;
mod matrix;
mod real;
mod scene;
mod tokens;
