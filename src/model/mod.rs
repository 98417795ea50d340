//! Values of the domain, parsed once at the border and never checked again.
//!
//! This room knows no I/O, no clock, no Kubernetes and no serialisation: everybody else may use it, it uses
//! nobody. Words are those of the design, §2.

pub mod condition;
pub mod evidence;
mod hex;
pub mod key_template;
pub mod names;
pub mod platform;
pub mod problem;
pub mod reference;
pub mod release;
pub mod sighting;
pub mod smoke;
pub mod tag_list;
pub mod target;
pub mod verify;

pub use condition::{ConditionType, Reason};
pub use evidence::{ImageEvidence, Revision};
pub use hex::hex;
pub use key_template::KeyTemplate;
pub use names::{GateName, ImageName, SetName, TargetName};
pub use platform::Platform;
pub use problem::Problem;
pub use reference::{Digest, Repository, Tag, TagTemplate};
pub use release::{Promoted, Release, ReleaseImage};
pub use sighting::{Defect, DefectKind, Doubt, DoubtKind, Sighted, Sighting};
pub use smoke::{Binding, Hindrance, HindranceKind, SmokeOutcome, SmokeRequest, SmokeVerdict, SmokeView};
pub use tag_list::TagList;
pub use target::{FluxObject, TargetKind, TargetState};
pub use verify::Verify;
