//! Wire types of `tidegate.dev/v1alpha1`, exactly as they are stored. Texts stay texts here: `validate` and
//! `status` turn them into values, so that one wrong field hides no other.

mod candidates;
mod smoke;
mod spec;
mod status;
mod target;

pub use candidates::{Alphabetical, Candidates, Direction, FilterTags, Numerical, OrderPolicy, SemVer};
pub use smoke::{Smoke, SmokeEnv, SmokeExpect, SmokeHttpGet, SmokeResources, SmokeToleration, SmokeWhen};
pub use spec::{
    BreakGlass, DeletionPolicy, Gate, Image, LocalReference, OnTagMoved, RegistryAccess, ReleaseSet,
    ReleaseSetSpec, RevisionFrom, SameRevision, Verify,
};
pub use status::{
    CandidateClock, CandidateStatus, CellStatus, ConditionStatus, EndedStatus, FAILURE_LOGS_MAX, FailureLog,
    FloorStatus, GateStatus, HISTORY_MAX, HistoryEntry, ListedStatus, PlatformDigest, PromotedImage,
    PromotedStatus, RECENT_MAX, ReleaseSetStatus, Summary, TargetStatus, VERDICTS_MAX, VerdictStatus,
};
pub use target::{
    RolledOutBy, RolledOutByKind, Target, TargetConfigMap, TargetImagePolicy, TargetResourceSetInputProvider,
};
