//! `imageRepositoryRef` and `policyRef`: read by GET before the policy is built, and rewritten into the fields that they
//! stand for. What cannot be read is a doubt, never an empty answer.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::index::Named;
use crate::api::ReleaseSetSpec;
use crate::api::references::{BorrowedImage, BorrowedRule, References};
use crate::api::v1alpha1::{
    Alphabetical, Direction, FilterTags, LocalReference, Numerical, OrderPolicy, RegistryAccess, SemVer,
};
use crate::controller::context::Context;
use crate::flux::kinds::Kind;
use crate::flux::objects::{ImagePolicy, ImageRepository, Object, Ordered, Reference};
use crate::flux::reader::{Reader, Seen};
use crate::model::{Doubt, DoubtKind, Tag};

/// The provider that uses Secrets; all others make tokens of a cloud's identity.
const GENERIC: &str = "generic";

/// What the Flux objects that a spec names say now.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// For the policy.
    pub references: References,
    /// The tag that `policyRef` names, when it is Ready for its generation.
    pub named: Option<Tag>,
    /// `status.lastScanResult.revision` of each ImageRepository that was read, by its name.
    pub scans: BTreeMap<String, String>,
}

/// The Flux objects that wake a set: those that it refers to, and the lead's ImageRepository of its targets.
pub fn named(spec: &ReleaseSetSpec) -> BTreeSet<Named> {
    let repositories = repositories(spec).into_iter().map(|name| (Kind::ImageRepository, name.to_owned()));
    let policy = spec.candidates.policy_ref.iter().map(|policy| (Kind::ImagePolicy, policy.name.clone()));
    repositories.chain(policy).collect()
}

/// Reads each object that the spec names, once.
pub async fn read(context: &Context, namespace: &str, spec: &ReleaseSetSpec) -> Read {
    read_by(&Reader::new(context.client.clone(), namespace), namespace, spec).await
}

/// The same by whoever reads that namespace.
pub async fn read_by(reader: &Reader, namespace: &str, spec: &ReleaseSetSpec) -> Read {
    let repositories = repositories(spec).into_iter().map(|name| async {
        let seen = reader.get::<ImageRepository>(name).await;
        (name.to_owned(), seen)
    });
    let policy = async {
        let name = &spec.candidates.policy_ref.as_ref()?.name;
        Some((name, reader.get::<ImagePolicy>(name).await))
    };
    let (repositories, policy) = futures::join!(join_all(repositories), policy);
    let mut read = Read::default();
    for (name, seen) in repositories {
        let scan = seen.found().and_then(|found| found.body.status.last_scan_result.as_ref());
        if let Some(scan) = scan.filter(|scan| !scan.revision.is_empty()) {
            read.scans.insert(name.clone(), scan.revision.clone());
        }
        read.references.image_repositories.insert(name.clone(), borrowed_image(namespace, &name, seen));
    }
    if let Some((name, seen)) = policy {
        // What a policy that is not Ready named last is of an earlier scan or spec: what was named before stays.
        read.named = seen.found().and_then(Object::selected).and_then(|tag| tag.parse().ok());
        read.references.policy = Some(borrowed_rule(namespace, name, seen));
    }
    read
}

/// Names of the ImageRepositories that a spec refers to, targets included.
fn repositories(spec: &ReleaseSetSpec) -> BTreeSet<&str> {
    let of_images = spec.images.iter().filter_map(|image| image.image_repository_ref.as_ref());
    let of_targets =
        spec.targets.iter().filter_map(|target| Some(&target.image_policy.as_ref()?.image_repository_ref));
    of_images.chain(of_targets).map(|reference| reference.name.as_str()).collect()
}

fn borrowed_image(
    namespace: &str,
    name: &str,
    seen: Seen<Object<ImageRepository>>,
) -> Result<BorrowedImage, Doubt> {
    let instead = "write `repository` instead of imageRepositoryRef";
    let spec = found(seen, || {
        format!("ImageRepository {name} does not exist in {namespace}: create it, or {instead}")
    })?
    .body
    .spec;
    if let Some(provider) = spec.provider.as_deref().filter(|provider| ![GENERIC, ""].contains(provider)) {
        return Err(doubt(format!(
            "ImageRepository {name} logs in by provider {provider}, and Tidegate makes no cloud tokens yet: name a pull \
             Secret by `repository` and `registry.secretRef` instead of imageRepositoryRef \
             (docs/how-to/registry-credentials.md)"
        )));
    }
    let local =
        |reference: Option<Reference>| reference.map(|reference| LocalReference { name: reference.name });
    let registry = RegistryAccess {
        secret_ref: local(spec.secret_ref),
        service_account_name: spec.service_account_name.filter(|name| !name.is_empty()),
        // Over plain HTTP there is nothing to certify; Flux allows both to be set.
        cert_secret_ref: local(spec.cert_secret_ref).filter(|_| !spec.insecure),
        proxy_secret_ref: local(spec.proxy_secret_ref),
        insecure: spec.insecure,
    };
    Ok(BorrowedImage { repository: spec.image, registry })
}

fn borrowed_rule(
    namespace: &str,
    name: &str,
    seen: Seen<Object<ImagePolicy>>,
) -> Result<BorrowedRule, Doubt> {
    let instead = "write `policy` and `filterTags` instead of policyRef";
    let spec =
        found(seen, || format!("ImagePolicy {name} does not exist in {namespace}: create it, or {instead}"))?
            .body
            .spec;
    let direction = |ordered: Ordered| match ordered.order.as_str() {
        "" | "asc" => Ok(Direction::Asc),
        "desc" => Ok(Direction::Desc),
        other => Err(doubt(format!(
            "ImagePolicy {name} has the order {other}, which is unknown: correct it, or {instead}"
        ))),
    };
    let numerical = spec.policy.numerical.map(direction).transpose()?;
    let alphabetical = spec.policy.alphabetical.map(direction).transpose()?;
    Ok(BorrowedRule {
        filter_tags: spec.filter_tags.map(|filter| FilterTags {
            pattern: filter.pattern,
            // To Flux an empty extract is the whole tag, as none is.
            extract: Some(filter.extract).filter(|extract| !extract.is_empty()),
        }),
        policy: OrderPolicy {
            semver: spec.policy.semver.map(|semver| SemVer { range: semver.range }),
            numerical: numerical.map(|order| Numerical { order }),
            alphabetical: alphabetical.map(|order| Alphabetical { order }),
        },
    })
}

fn found<T>(seen: Seen<T>, absent: impl FnOnce() -> String) -> Result<T, Doubt> {
    match seen {
        Seen::Found(found) => Ok(found),
        Seen::Unreadable(why) => Err(doubt(why)),
        Seen::Absent | Seen::Unread => Err(doubt(absent())),
    }
}

fn doubt(message: String) -> Doubt {
    Doubt::new(DoubtKind::Reference, message)
}
