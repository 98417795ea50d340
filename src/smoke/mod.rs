//! Smoke tests as Jobs: what is made, and what is read from it (docs/adr/0004).
//!
//! `identity`, `job`, `pod` and `outcome` are pure; `runner` does the calls. This room knows no release sets' rules,
//! no candidates and no registries: it runs one container by digest and says what became of it (design §4 Gates).

pub mod identity;
pub mod job;
pub mod outcome;
mod pod;
pub mod runner;

pub use outcome::{JobEnd, SmokeJob, views};
pub use pod::environment;
pub use runner::{Jobs, SmokeError, Started};
