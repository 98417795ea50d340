//! What one smoke Job is named after, and what it says of itself when it is read back.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use sha2::{Digest as _, Sha256};

use crate::model::smoke::{SmokeExpect, SmokeRun};
use crate::model::{Binding, Digest, SmokeRequest, hex};

/// Label of a Job and its pods: name of the gate.
pub const GATE_LABEL: &str = "tidegate.dev/gate";
/// Annotation of a Job: the binding, whole.
pub const BINDING_ANNOTATION: &str = "tidegate.dev/binding";
/// Annotation of a Job: the platform under test.
pub const PLATFORM_ANNOTATION: &str = "tidegate.dev/platform";
/// Annotation of a Job: `repository@digest` under test, as the ReleaseSet writes the repository.
pub const IMAGE_ANNOTATION: &str = "tidegate.dev/image";
/// Annotation of a Job: which run it is, as `retry number pods-left attempts-left`.
pub const RUN_ANNOTATION: &str = "tidegate.dev/run";
/// Annotation of a Job whose container must stay up: for how many seconds.
pub const STAYS_UP_ANNOTATION: &str = "tidegate.dev/stays-up-secs";

/// Hexadecimal digits of the hash in a Job's name: 160 bits; with `tg-` and a pod's suffix it stays below the
/// 63 bytes of a pod's host name.
const NAME_HASH_DIGITS: usize = 40;

/// The texts that a Job is named after; the same ones are read back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `spec.gates[].name`.
    pub gate: String,
    /// The platform under test.
    pub platform: String,
    /// `repository@digest` under test.
    pub image: String,
    /// What the verdict counts for.
    pub binding: Binding,
    /// Which run.
    pub run: SmokeRun,
    /// For how long the container must stay up; `None` for one that must exit with 0. Not part of the name: the
    /// gate's hash in the binding covers it.
    pub stays_up: Option<SignedDuration>,
}

// === impl Identity ===

impl Identity {
    /// The identity of the Job that `request` asks for.
    pub fn of(request: &SmokeRequest) -> Self {
        Self {
            gate: request.gate.to_string(),
            platform: request.platform.to_string(),
            image: format!("{}@{}", request.repository, request.digest),
            binding: request.binding.clone(),
            run: request.run,
            stays_up: match &request.test.expect {
                SmokeExpect::ExitsZero => None,
                SmokeExpect::StaysUp { stays_up, .. } => Some(*stays_up),
            },
        }
    }

    /// What a Job says of itself; `None` when it says less.
    pub fn read(job: &Job) -> Option<Self> {
        let annotation = |key| job.metadata.annotations.as_ref()?.get(key).cloned();
        let stays_up = match annotation(STAYS_UP_ANNOTATION) {
            Some(secs) => Some(SignedDuration::from_secs(secs.parse().ok()?)),
            None => None,
        };
        Some(Self {
            gate: job.metadata.labels.as_ref()?.get(GATE_LABEL)?.clone(),
            platform: annotation(PLATFORM_ANNOTATION)?,
            image: annotation(IMAGE_ANNOTATION)?,
            binding: Binding::stored(annotation(BINDING_ANNOTATION)?),
            run: read_run(&annotation(RUN_ANNOTATION)?)?,
            stays_up,
        })
    }

    /// The annotations that [`Self::read`] reads.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let SmokeRun { retry, number, pods_left, attempts_left } = self.run;
        let run = format!("{retry} {number} {pods_left} {attempts_left}");
        let mut annotations = BTreeMap::from([
            (BINDING_ANNOTATION.to_owned(), self.binding.to_string()),
            (IMAGE_ANNOTATION.to_owned(), self.image.clone()),
            (PLATFORM_ANNOTATION.to_owned(), self.platform.clone()),
            (RUN_ANNOTATION.to_owned(), run),
        ]);
        if let Some(stays_up) = self.stays_up {
            annotations.insert(STAYS_UP_ANNOTATION.to_owned(), stays_up.as_secs().to_string());
        }
        annotations
    }

    /// `tg-` and a hash of the set's uid, everything that the verdict is bound to, and the run: two sets, a set
    /// made anew, another gate or another digest never meet one another's Job, and a create that is tried again
    /// meets its own.
    pub fn job_name(&self, set_uid: &str) -> String {
        let mut hasher = Sha256::new();
        let (retry, number) = (self.run.retry.to_string(), self.run.number.to_string());
        let parts =
            [set_uid, &self.gate, &self.platform, &self.image, self.binding.as_str(), &retry, &number];
        for part in parts {
            hasher.update(part);
            // No part can hold it, so that no two lists of parts read the same.
            hasher.update([0]);
        }
        format!("tg-{}", hex(&hasher.finalize()[..NAME_HASH_DIGITS / 2]))
    }

    /// Digest of the child manifest under test.
    pub fn digest(&self) -> Option<Digest> {
        self.image.rsplit_once('@')?.1.parse().ok()
    }
}

fn read_run(text: &str) -> Option<SmokeRun> {
    let mut numbers = text.split(' ').map(|number| number.parse::<u32>().ok());
    let run = SmokeRun {
        retry: numbers.next()??,
        number: numbers.next()??,
        pods_left: numbers.next()??,
        attempts_left: numbers.next()??,
    };
    numbers.next().is_none().then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::job::job;
    use crate::smoke::job::tests::{request, set};

    #[test]
    fn the_name_is_bound_to_set_gate_platform_image_binding_and_run() {
        let base = Identity::of(&request("ghcr.io/acme/worker", "linux/arm64"));
        let name = base.job_name("uid");
        assert_eq!(name.len(), 3 + NAME_HASH_DIGITS);
        let others = [
            Identity { gate: "other".into(), ..base.clone() },
            Identity { platform: "linux/amd64".into(), ..base.clone() },
            Identity { image: base.image.replace("ab", "cd"), ..base.clone() },
            Identity { binding: Binding::stored("other"), ..base.clone() },
            Identity { run: SmokeRun { retry: 1, ..base.run }, ..base.clone() },
            Identity { run: SmokeRun { number: 2, ..base.run }, ..base.clone() },
        ];
        let mut names: Vec<String> = others.iter().map(|other| other.job_name("uid")).collect();
        names.extend([name.clone(), base.job_name("uid-2")]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), others.len() + 2);
        let counted = Identity { run: SmokeRun { pods_left: 1, attempts_left: 1, ..base.run }, ..base };
        assert_eq!(counted.job_name("uid"), name, "what is left is no identity");
    }

    #[test]
    fn a_job_says_what_it_was_made_from() {
        let request = request("ghcr.io/acme/worker", "linux/arm64");
        let job = job(&set(), &request, &[]);
        assert_eq!(Identity::read(&job), Some(Identity::of(&request)));
        assert_eq!(Identity::of(&request).digest(), Some(request.digest));
    }

    #[test]
    fn a_run_is_read_whole_or_not_at_all() {
        let run = SmokeRun { retry: 1, number: 2, pods_left: 3, attempts_left: 4 };
        assert_eq!(read_run("1 2 3 4"), Some(run));
        for broken in ["", "1 2 3", "1 2 3 4 5", "1 2 3 -4", "1  2 3 4", "a b c d"] {
            assert_eq!(read_run(broken), None, "{broken:?}");
        }
    }
}
