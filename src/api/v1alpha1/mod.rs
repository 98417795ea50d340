//! Wire types of `tidegate.dev/v1alpha1`, exactly as they are stored. Texts stay texts here: `validate` and
//! `status` turn them into values, so that one wrong field hides no other.

mod spec;
mod status;

pub use spec::{
    Alphabetical, Candidates, Direction, FilterTags, Gate, Image, LocalReference, Numerical, OrderPolicy,
    RegistryAccess, ReleaseSet, ReleaseSetSpec, RevisionFrom, SameRevision, Smoke, Target, TargetConfigMap,
    TargetImagePolicy, Verify,
};
pub use status::{
    CandidateClock, CandidateStatus, CellStatus, ConditionStatus, EndedStatus, FloorStatus, GateStatus,
    HISTORY_MAX, HistoryEntry, ListedStatus, PlatformDigest, PromotedImage, PromotedStatus, RECENT_MAX,
    ReleaseSetStatus, Summary, TargetStatus, VERDICTS_MAX, VerdictStatus,
};
