//! Condition types and reasons: the words of status, events, metrics and the command line, in one place.
//!
//! Types follow kstatus and Flux: Ready is always there, Reconciling and Stalled only while they are True.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every word, for reference pages and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// `status.conditions[].type`.
    ConditionType {
        /// True: a release is promoted, every target carries it, and it is the pin if there is one.
        Ready,
        /// True only until this generation was looked at once; absent otherwise.
        Reconciling,
        /// True only for what an edit of the object mends; absent otherwise.
        Stalled,
        /// True: every required cell of the printed candidate is Present.
        CandidateComplete,
        /// True: every required gate of the printed candidate passed.
        SmokePassed,
        /// True: a release is promoted.
        Promoted,
        /// True: a tag of the promoted release points at another digest now.
        TagMoved,
        /// False: a tag of the promoted release is gone from its registry.
        PromotedAvailable,
    }
);

words!(
    /// `status.conditions[].reason` and the reasons of events.
    Reason {
        /// Ready: everything carries the promoted release. SmokePassed: all required gates passed.
        Succeeded,
        /// Ready=False: no release was promoted yet; something is followed. Next: see CandidateComplete.
        NothingPromoted,
        /// Ready=False: no listed or named tag is a candidate. Next: check `spec.candidates` against the tags, or the
        /// ImagePolicy of `policyRef`.
        NoCandidates,
        /// Ready=False: status holds no release, and what its targets carry cannot be told. Next: see that the
        /// controller may read them.
        TargetUnreadable,
        /// Ready=False: a target does not carry the promoted release yet. Next: see `status.targets`.
        TargetNotApplied,
        /// Ready=False: the promoted release is not the pinned one. Next: see CandidateComplete.
        PinNotPromoted,
        /// Reconciling: this generation was not looked at yet.
        Progressing,
        /// Stalled: the spec breaks a rule; the message names the field. Next: edit it.
        InvalidSpec,
        /// Stalled: an object of a target's name exists and is not ours. Next: rename the target or hand the object over.
        TargetTaken,
        /// Stalled: the present policy does not accept the floor's tag. Next: pin a tag.
        FloorNotOrdered,
        /// Stalled: the object cannot be decoded. Next: compare its API version with the controller's.
        Undecodable,
        /// CandidateComplete=True: every required cell is Present.
        Complete,
        /// CandidateComplete=False: a required cell is Missing.
        Missing,
        /// CandidateComplete=False: a required cell is there and wrong.
        Broken,
        /// CandidateComplete=False: a required cell could not be told.
        Unknown,
        /// CandidateComplete=False: not complete within `spec.deadline`. Next: push the named cell, or skip the tag.
        Overdue,
        /// CandidateComplete=False: a cell was Unknown for a whole `spec.deadline`. Next: mend the credential or registry named.
        CannotTell,
        /// CandidateComplete=False, Ready=False: the order of candidates cannot be told, so that nothing is newer.
        /// Next: mend the ImagePolicy of `spec.candidates.policyRef`, or pin a tag.
        OrderUntold,
        /// CandidateComplete=False: a digest changed; the candidate must be still for `spec.candidates.settle`.
        Settling,
        /// SmokePassed=False: a required gate waits or runs.
        GatePending,
        /// SmokePassed=False: a required gate failed for this candidate.
        GateFailed,
        /// SmokePassed=False: the gates did not pass within `spec.deadline` from complete.
        GateOverdue,
        /// SmokePassed=True: no required gate is declared.
        NoGates,
        /// Promoted=True, and the event of each commit.
        Promoted,
        /// Promoted=True: the promoted release does not pass under the present spec, and stays as it is. Next: push what
        /// the message names, promote another release, or undo the edit.
        PromotedBehindSpec,
        /// TagMoved=True: a required digest under a promoted tag changed after the commit.
        TagMoved,
        /// TagMoved=False, PromotedAvailable=True: as it was committed.
        AsPromoted,
        /// PromotedAvailable=False: a promoted tag is gone. Next: push it again, or promote another.
        PromotedGone,
        /// TagMoved=False, and an event: the promoted tag was re-pushed with every required child unchanged.
        TagExtended,
        /// Event: a candidate failed a required gate.
        Failed,
        /// Event: a newer release was promoted instead.
        Superseded,
        /// Event: a candidate's tags are gone from every registry.
        Gone,
        /// Event: a new candidate is followed.
        CandidateFound,
        /// Event: a target of a deleted set could not be deleted, so that the set stays. Next: mend what the message
        /// names, or set `spec.deletionPolicy` to `Retain`.
        TargetNotDeleted,
        /// Event: what `spec.candidates.policyRef` names now is not above the floor, and is ignored. Next: pin it, if
        /// it is wanted.
        CandidateOlder,
        /// Event: the list of the admission guard could not be written, so that no target moves. Next: what the message
        /// names.
        GuardNotWritten,
        /// Event: older references have no room in the list of the admission guard. Next: lower `spec.historyLimit`.
        GuardFull,
        /// Event: `spec.breakGlass` lets everything of the set's repositories pass the admission guard. Next: remove it
        /// when the emergency is over.
        BreakGlassOpened,
        /// Event: the admission guard holds for the set's repositories again.
        BreakGlassClosed,
        /// Event and error: a Secret that the spec names is absent or of the wrong type. Next: create it.
        SecretUnusable,
        /// `spec.suspend` is set: no commit, no new Job, no target write.
        Suspended,
        /// Error: the installed CRD lacks fields that this controller writes. Next: apply `tidegate crd`.
        CrdOutdated,
    }
);
