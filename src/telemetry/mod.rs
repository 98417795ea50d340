//! Clock, log and metrics: a leaf that anyone but model and engine may use.

pub mod clock;
