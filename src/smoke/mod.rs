//! Smoke tests as Jobs: what is made, and what is read from it. The smallest runner that is right.
//!
//! `job` and `outcome` are pure; `runner` does the calls. This room knows no release sets' rules, no candidates
//! and no registries: it runs one container by digest and says what became of it (design §4 Gates).

pub mod job;
pub mod outcome;
pub mod runner;

pub use outcome::{JobEnd, SmokeJob, views};
pub use runner::{Jobs, SmokeError, Started};
