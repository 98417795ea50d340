//! Mistakes that the model must be able to find: each is made around the real engine, and a test names the invariant
//! that it breaks.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The API server takes a status write whatever resourceVersion it carries.
    VersionIgnored,
    /// And it lacks the transition rule of the CRD.
    VersionAndRuleIgnored,
    /// A registry that refuses is read as one that has what was pushed.
    UnknownIsPresent,
    /// A registry that refuses is read as one that has nothing.
    UnknownIsMissing,
    /// The confirming look is answered from memory.
    NoConfirmingLook,
    /// A grant is written however old its look is.
    LateWrite,
    /// The floor is held against the wrong end of the order, so that what is older passes it.
    OrderReversed,
    /// A verdict counts for every build of its tag.
    VerdictOfTag,
    /// `spec.suspend` is not read.
    SuspendIgnored,
}
