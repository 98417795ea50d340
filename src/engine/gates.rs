//! Gates of one candidate: each asks one thing, and known absence is a failure, not Unknown (design §4).

mod revision;
pub(in crate::engine) mod smoke;

pub use smoke::{SMOKE_RUNNING_MAX, VERDICTS_MAX};

pub(in crate::engine) use revision::shared_revision;

use crate::engine::decision::{CandidateImage, GateReport};
use crate::engine::observation::Observation;
use crate::engine::policy::{Gate, GateKind, Policy};
use crate::model::Tag;

/// Every gate of one candidate, in the order of the spec.
pub(in crate::engine) fn judge(
    policy: &Policy,
    observation: &Observation,
    tag: &Tag,
    images: &[CandidateImage],
) -> Vec<GateReport> {
    let report = |gate: &Gate| {
        let (is_smoke, state, reason, message) = match &gate.kind {
            GateKind::Smoke(smoke) => {
                let seen = smoke::Seen { tag, images };
                let judged = smoke::judge(policy, observation, gate, smoke, seen);
                (true, judged.state, judged.reason, judged.message)
            }
            GateKind::SameRevision(same) => {
                let (state, message) = revision::judge(observation, same, tag, images);
                (false, state, None, message)
            }
        };
        GateReport { name: gate.name.clone(), advisory: gate.advisory, is_smoke, state, reason, message }
    };
    policy.gates.iter().map(report).collect()
}
