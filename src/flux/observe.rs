//! Reads what following one imagePolicy target needs, step by step: what comes after a step that is not done is not
//! read. At most one GET for our policy, one for its ImageRepository or its automations, one for each GitRepository, and
//! one for each object in `rolledOutBy`.

use crate::flux::follow::{self, Observed};
use crate::flux::objects::{GitRepository, HelmRelease, ImageUpdateAutomation, Kustomization, Object};
use crate::flux::reader::Reader;
use crate::model::FluxObject;
use crate::model::target::FluxKind;

/// Reads on from an `observed` that names everything and has read nothing but the policy.
pub async fn observe(reader: &Reader, mut observed: Observed, rolled_out_by: &[FluxObject]) -> Observed {
    if !follow::is_selected(&observed) {
        observed.repository = reader.get(&observed.repository_name).await;
        return observed;
    }
    observed.automations = match &observed.automation_name {
        Some(name) => reader.get::<ImageUpdateAutomation>(name).await.map(|found| vec![found]),
        None => reader.list().await,
    };
    let taken: Vec<_> = follow::takers(&observed).into_iter().cloned().collect();
    if taken.is_empty() {
        return observed;
    }
    for automation in &taken {
        if needs_source(automation, rolled_out_by) {
            let reference = &automation.body.spec.source_ref;
            // Another namespace is not ours to read (design §8): what it would tell stays unknown.
            if reference.namespace.as_ref().is_none_or(|namespace| *namespace == observed.namespace) {
                let key = follow::source_key(&observed.namespace, reference);
                let source = reader.get::<GitRepository>(&reference.name).await;
                observed.sources.insert(key, source);
            }
        }
    }
    // Kustomizations before the HelmReleases that they apply: one that has applied the release has given them the spec
    // of which they are then Ready or not.
    let mut ordered = rolled_out_by.to_vec();
    ordered.sort_by_key(|named| named.kind);
    for named in ordered {
        let seen = match named.kind {
            FluxKind::Kustomization => {
                reader.get::<Kustomization>(&named.name).await.map(|found| found.map(Into::into))
            }
            FluxKind::HelmRelease => {
                reader.get::<HelmRelease>(&named.name).await.map(|found| found.map(Into::into))
            }
        };
        observed.appliers.push((named, seen));
    }
    observed
}

/// A source tells which branch is checked out where the automation does not, and whether a revision is later.
fn needs_source(automation: &Object<ImageUpdateAutomation>, rolled_out_by: &[FluxObject]) -> bool {
    let git = automation.body.spec.git.as_ref();
    let pushes_elsewhere = git.and_then(|git| git.push.as_ref()?.branch.as_ref()).is_some();
    let names_checkout = git.is_some_and(|git| git.checkout.is_some());
    !rolled_out_by.is_empty() || (pushes_elsewhere && !names_checkout)
}
