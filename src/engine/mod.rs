//! The decision: `decide(policy, observation, now)`, pure and total.

pub mod clearance;
pub mod decision;
pub mod memory;
pub mod observation;
pub mod order;
pub mod policy;
pub mod report;
