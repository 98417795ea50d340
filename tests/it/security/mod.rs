//! What must not come out, and where nobody may reach: SECURITY.md names the test of each row of its threat model.

mod canary;
mod tenants;
pub mod threats;
