//! The controller: observe, decide, act, report.

pub mod look;
